use super::host::{Function, Host, HostCall, HostFailure};
use super::observe::{self, Outcome, State};
use super::{Type, Value};
use crate::guest;
use crate::rng::Rng;
use crate::smith::{FUEL, FUEL_EXPORT};
use std::mem::Discriminant;
use std::sync::Arc;
use wasmi::{
    AsContext, AsContextMut, Error, Extern, ExternRef, ExternType, F32, F64, Func, Global,
    Instance, Memory, Module, Ref, Store, StoreLimits, StoreLimitsBuilder, Table, TrapCode, V128,
    Val, ValType,
};

/// The exported functions of `module`.
pub fn functions(module: &Module) -> Arc<[Function]> {
    module
        .exports()
        .filter_map(|export| {
            let ty = export.ty().func()?;
            Some(Function {
                name: export.name().to_string(),
                params: ty.params().iter().map(|ty| type_of(*ty)).collect(),
                results: ty.results().iter().map(|ty| type_of(*ty)).collect(),
            })
        })
        .collect()
}

struct Data {
    host: Host,
    limits: StoreLimits,
    /// For calling back, once there is one.
    instance: Option<Instance>,
}

pub struct Machine {
    store: Store<Data>,
    module: Module,
    functions: Arc<[Function]>,
    imports: Vec<(Discriminant<ExternType>, Extern)>,
    instance: Option<Instance>,
    seed: u64,
}

impl Machine {
    pub fn new(module: &Module, functions: &Arc<[Function]>, seed: u64) -> Self {
        let limits = StoreLimitsBuilder::new()
            .memory_size(guest::MAX_MEMORY)
            .table_elements(guest::MAX_TABLE)
            .build();
        let data = Data {
            host: Host::new(functions, seed),
            limits,
            instance: None,
        };
        let mut store = Store::new(module.engine(), data);
        store.limiter(|data| &mut data.limits);
        Machine {
            store,
            module: module.clone(),
            functions: functions.clone(),
            imports: Vec::new(),
            instance: None,
            seed,
        }
    }

    fn import(&mut self, index: usize, ty: &ExternType) -> Result<Extern, Error> {
        Ok(match ty {
            ExternType::Func(ty) => {
                let results: Vec<Type> = ty.results().iter().map(|ty| type_of(*ty)).collect();
                let func = Func::new(
                    &mut self.store,
                    ty.clone(),
                    move |mut caller: wasmi::Caller<'_, Data>, params, answer| {
                        let args = params.iter().map(|val| value(&caller, val)).collect();
                        let instance = caller.data().instance;
                        let host = &mut caller.data_mut().host;
                        let reaction = host.called(index, args, &results, instance.is_some());
                        let mut failure = Error::host(HostFailure);
                        if let Some((function, args)) = reaction.call_back
                            && let Some(instance) = instance
                            && let Some(func) = instance.get_func(&caller, &function.name)
                        {
                            let result = call(&mut caller, func, &function, &args);
                            let outcome = outcome(&result);
                            caller.data_mut().host.called_back(outcome);
                            if let Err(error) = result {
                                failure = error;
                            }
                        }
                        let values = reaction.answer.ok_or(failure)?;
                        for (slot, value) in answer.iter_mut().zip(values) {
                            *slot = val(&mut caller, value);
                        }
                        Ok(())
                    },
                );
                Extern::Func(func)
            }
            ExternType::Global(ty) => {
                let mut rng = Rng::of(&[self.seed, index as u64]);
                let value = Value::random(&mut rng, type_of(ty.content()));
                let value = val(&mut self.store, value);
                Extern::Global(Global::new(&mut self.store, value, ty.mutability()))
            }
            ExternType::Memory(ty) => Extern::Memory(Memory::new(&mut self.store, *ty)?),
            ExternType::Table(ty) => {
                let null = Val::default(ty.element());
                Extern::Table(Table::new(&mut self.store, *ty, null)?)
            }
        })
    }
}

impl observe::Machine for Machine {
    fn instantiate(&mut self) -> Outcome {
        let module = self.module.clone();
        for import in module.imports() {
            // The engines list imports in different orders, but those of a kind in the same.
            let ty = import.ty();
            let kind = std::mem::discriminant(ty);
            let index = self.imports.iter().filter(|(k, _)| *k == kind).count();
            match self.import(index, ty) {
                Ok(import) => self.imports.push((kind, import)),
                Err(_) => return Outcome::Refused,
            }
        }
        let imports: Vec<Extern> = self.imports.iter().map(|(_, item)| *item).collect();
        match Instance::new(&mut self.store, &module, &imports) {
            Ok(instance) => {
                self.instance = Some(instance);
                self.store.data_mut().instance = Some(instance);
                Outcome::Returned(Vec::new())
            }
            Err(error) => outcome(&Err(error)),
        }
    }

    fn functions(&self) -> &[Function] {
        &self.functions
    }

    fn refuel(&mut self) {
        let fuel = self
            .instance
            .and_then(|instance| instance.get_global(&self.store, FUEL_EXPORT));
        if let Some(fuel) = fuel {
            fuel.set(&mut self.store, Val::I32(FUEL as i32))
                .expect("the fuel is mutable");
        }
    }

    fn call(&mut self, function: &Function, args: &[Value]) -> Outcome {
        let instance = self.instance.expect("the module is instantiated");
        let func = instance
            .get_func(&self.store, &function.name)
            .expect("the function is exported");
        outcome(&call(&mut self.store, func, function, args))
    }

    fn state(&mut self) -> Vec<(String, State)> {
        let mut items: Vec<(String, Extern)> = self
            .module
            .imports()
            .zip(&self.imports)
            .map(|(import, (_, item))| (format!("{} {}", import.module(), import.name()), *item))
            .collect();
        if let Some(instance) = self.instance {
            for export in self.module.exports() {
                let item = instance.get_export(&self.store, export.name());
                let item = item.expect("the export exists");
                items.push((export.name().to_string(), item));
            }
        }
        let store = &self.store;
        let state = |item| {
            Some(match item {
                Extern::Func(_) => return None,
                Extern::Memory(memory) => State::Memory(memory.data(store).to_vec()),
                Extern::Global(global) => State::Global(value(store, &global.get(store))),
                Extern::Table(table) => State::Table(
                    (0..table.size(store))
                        .map(|index| {
                            let element = table.get(store, index).expect("in bounds");
                            value(store, &element)
                        })
                        .collect(),
                ),
            })
        };
        let mut state: Vec<_> = items
            .into_iter()
            .filter_map(|(name, item)| Some((name, state(item)?)))
            .collect();
        state.sort_by(|(a_name, a), (b_name, b)| (a_name, a.kind()).cmp(&(b_name, b.kind())));
        state
    }

    fn into_host_calls(self) -> Vec<HostCall> {
        self.store.into_data().host.calls
    }
}

fn call(
    mut store: impl AsContextMut<Data = Data>,
    func: Func,
    function: &Function,
    args: &[Value],
) -> Result<Vec<Value>, Error> {
    let args: Vec<Val> = args.iter().map(|arg| val(&mut store, *arg)).collect();
    let mut results = vec![Val::I32(0); function.results.len()];
    func.call(&mut store, &args, &mut results)?;
    Ok(results.iter().map(|result| value(&store, result)).collect())
}

fn outcome(result: &Result<Vec<Value>, Error>) -> Outcome {
    let error = match result {
        Ok(values) => return Outcome::Returned(values.clone()),
        Err(error) => error,
    };
    if error.downcast_ref::<HostFailure>().is_some() {
        return Outcome::HostFailed;
    }
    match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => Outcome::Trapped("unreachable"),
        Some(TrapCode::MemoryOutOfBounds) => Outcome::Trapped("memory out of bounds"),
        Some(TrapCode::TableOutOfBounds) => Outcome::Trapped("table out of bounds"),
        Some(TrapCode::IndirectCallToNull) => Outcome::Trapped("indirect call to null"),
        Some(TrapCode::IntegerDivisionByZero) => Outcome::Trapped("integer division by zero"),
        Some(TrapCode::IntegerOverflow) => Outcome::Trapped("integer overflow"),
        Some(TrapCode::BadConversionToInteger) => Outcome::Trapped("bad conversion to integer"),
        Some(TrapCode::BadSignature) => Outcome::Trapped("bad signature"),
        Some(TrapCode::StackOverflow | TrapCode::OutOfFuel | TrapCode::GrowthOperationLimited) => {
            Outcome::Limit
        }
        None => match error.kind() {
            // Out-of-bounds active element segments are a trap by the specification.
            wasmi::errors::ErrorKind::Instantiation(
                wasmi::errors::InstantiationError::ElementSegmentDoesNotFit { .. },
            ) => Outcome::Trapped("table out of bounds"),
            wasmi::errors::ErrorKind::Table(_) => Outcome::Trapped("table out of bounds"),
            wasmi::errors::ErrorKind::Memory(_) => Outcome::Trapped("memory out of bounds"),
            _ => Outcome::Refused,
        },
    }
}

fn type_of(ty: ValType) -> Type {
    match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        ValType::V128 => Type::V128,
        ValType::FuncRef => Type::Func,
        ValType::ExternRef => Type::Extern,
    }
}

fn value(store: impl AsContext, val: &Val) -> Value {
    match val {
        Val::I32(value) => Value::I32(*value),
        Val::I64(value) => Value::I64(*value),
        Val::F32(value) => Value::F32(value.to_bits()),
        Val::F64(value) => Value::F64(value.to_bits()),
        Val::V128(value) => Value::V128(value.as_u128()),
        Val::FuncRef(Ref::Null) => Value::Func(None),
        Val::FuncRef(Ref::Val(func)) => {
            let ty = func.ty(&store);
            Value::Func(Some((ty.params().len(), ty.results().len())))
        }
        Val::ExternRef(Ref::Null) => Value::Extern(None),
        Val::ExternRef(Ref::Val(object)) => {
            Value::Extern(object.data(store.as_context()).downcast_ref().copied())
        }
    }
}

fn val(store: impl AsContextMut, value: Value) -> Val {
    match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(value) => Val::F32(F32::from_bits(value)),
        Value::F64(value) => Val::F64(F64::from_bits(value)),
        Value::V128(value) => Val::V128(V128::from(value)),
        Value::Func(_) => Val::FuncRef(Ref::Null),
        Value::Extern(None) => Val::ExternRef(Ref::Null),
        Value::Extern(Some(object)) => Val::ExternRef(Ref::Val(ExternRef::new(store, object))),
    }
}
