use super::host::{Function, Host, HostCall, HostFailure};
use super::observe::{self, Outcome, State};
use super::{Type, Value};
use crate::guest;
use crate::rng::Rng;
use crate::smith::{FUEL, FUEL_EXPORT};
use anyhow::{Error, Result};
use std::mem::Discriminant;
use std::sync::Arc;
use waxwing::{
    AsContextMut, Caller, Extern, ExternRef, ExternType, Func, Global, Instance, Memory, Module,
    Ref, Store, StoreLimits, Table, Tag, Trap, Val, ValType,
};

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
        let data = Data {
            host: Host::new(functions, seed),
            limits: guest::limits(),
            instance: None,
        };
        let mut store = Store::new(module.engine(), data);
        store.limiter(|data| &mut data.limits);
        guest::never_stop(&mut store);
        Machine {
            store,
            module: module.clone(),
            functions: functions.clone(),
            imports: Vec::new(),
            instance: None,
            seed,
        }
    }

    fn import(&mut self, index: usize, ty: ExternType) -> Result<Extern> {
        Ok(match ty {
            ExternType::Func(ty) => {
                let results: Vec<Type> = ty.results().map(|ty| type_of(&ty)).collect();
                let func = Func::new(
                    &mut self.store,
                    ty,
                    move |mut caller: Caller<'_, Data>, params, answer| {
                        let args = params.iter().map(|val| value(&mut caller, val)).collect();
                        let instance = caller.data().instance;
                        let host = &mut caller.data_mut().host;
                        let reaction = host.called(index, args, &results, instance.is_some());
                        let mut failure = Error::new(HostFailure);
                        if let Some((function, args)) = reaction.call_back
                            && let Some(instance) = instance
                            && let Some(func) = instance.get_func(&mut caller, &function.name)
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
                            *slot = val(&mut caller, value)?;
                        }
                        Ok(())
                    },
                );
                Extern::Func(func)
            }
            ExternType::Global(ty) => {
                let mut rng = Rng::of(&[self.seed, index as u64]);
                let value = Value::random(&mut rng, type_of(ty.content()));
                let value = val(&mut self.store, value)?;
                Extern::Global(Global::new(&mut self.store, ty, value)?)
            }
            ExternType::Memory(ty) => Extern::Memory(Memory::new(&mut self.store, ty)?),
            ExternType::Table(ty) => {
                let null = Ref::null(ty.element().heap_type());
                Extern::Table(Table::new(&mut self.store, ty, null)?)
            }
            ExternType::Tag(ty) => Extern::Tag(Tag::new(&mut self.store, &ty)?),
        })
    }
}

impl observe::Machine for Machine {
    fn instantiate(&mut self) -> Outcome {
        let module = self.module.clone();
        for import in module.imports() {
            // The engines list imports in different orders, but those of a kind in the same.
            let ty = import.ty();
            let kind = std::mem::discriminant(&ty);
            let index = self.imports.iter().filter(|(k, _)| *k == kind).count();
            match self.import(index, ty) {
                Ok(import) => self.imports.push((kind, import)),
                Err(_) => return Outcome::Refused,
            }
        }
        let imports: Vec<Extern> = self.imports.iter().map(|(_, item)| item.clone()).collect();
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
            .and_then(|instance| instance.get_global(&mut self.store, FUEL_EXPORT));
        if let Some(fuel) = fuel {
            fuel.set(&mut self.store, Val::I32(FUEL as i32))
                .expect("the fuel is mutable");
        }
    }

    fn call(&mut self, function: &Function, args: &[Value]) -> Outcome {
        let instance = self.instance.expect("the module is instantiated");
        let func = instance
            .get_func(&mut self.store, &function.name)
            .expect("the function is exported");
        outcome(&call(&mut self.store, func, function, args))
    }

    fn state(&mut self) -> Vec<(String, State)> {
        let mut items: Vec<(String, Extern)> = self
            .module
            .imports()
            .zip(&self.imports)
            .map(|(import, (_, item))| {
                let name = format!("{} {}", import.module(), import.name());
                (name, item.clone())
            })
            .collect();
        if let Some(instance) = self.instance {
            for export in self.module.exports() {
                let item = instance.get_export(&mut self.store, export.name());
                let item = item.expect("the export exists");
                items.push((export.name().to_string(), item));
            }
        }
        let store = &mut self.store;
        let mut state = |item| {
            Some(match item {
                Extern::Memory(memory) => State::Memory(memory.data(&*store).to_vec()),
                Extern::Global(global) => {
                    let val = global.get(&mut *store);
                    State::Global(value(&mut *store, &val))
                }
                Extern::Table(table) => {
                    let size = table.size(&*store);
                    let element = |index| {
                        let element = table.get(&mut *store, index).expect("in bounds");
                        value(&mut *store, &Val::from(element))
                    };
                    State::Table((0..size).map(element).collect())
                }
                _ => return None,
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
) -> Result<Vec<Value>> {
    let args: Vec<Val> = args
        .iter()
        .map(|arg| val(&mut store, *arg))
        .collect::<Result<_>>()?;
    let mut results = vec![Val::I32(0); function.results.len()];
    func.call(&mut store, &args, &mut results)?;
    Ok(results
        .iter()
        .map(|result| value(&mut store, result))
        .collect())
}

fn outcome(result: &Result<Vec<Value>>) -> Outcome {
    let error = match result {
        Ok(values) => return Outcome::Returned(values.clone()),
        Err(error) => error,
    };
    if error.downcast_ref::<HostFailure>().is_some() {
        return Outcome::HostFailed;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => Outcome::Trapped("unreachable"),
        Some(Trap::MemoryOutOfBounds) => Outcome::Trapped("memory out of bounds"),
        Some(Trap::TableOutOfBounds) => Outcome::Trapped("table out of bounds"),
        Some(Trap::IndirectCallToNull) => Outcome::Trapped("indirect call to null"),
        Some(Trap::IntegerDivisionByZero) => Outcome::Trapped("integer division by zero"),
        Some(Trap::IntegerOverflow) => Outcome::Trapped("integer overflow"),
        Some(Trap::BadConversionToInteger) => Outcome::Trapped("bad conversion to integer"),
        Some(Trap::BadSignature) => Outcome::Trapped("bad signature"),
        Some(Trap::StackOverflow) => Outcome::Limit,
        Some(_) => Outcome::Trapped("a trap that wasmi does not have"),
        None => Outcome::Refused,
    }
}

fn type_of(ty: &ValType) -> Type {
    match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        ValType::V128 => Type::V128,
        ValType::Ref(ty) if ty.heap_type().is_extern() => Type::Extern,
        ValType::Ref(_) => Type::Func,
    }
}

fn value(mut store: impl AsContextMut, val: &Val) -> Value {
    match val {
        Val::I32(value) => Value::I32(*value),
        Val::I64(value) => Value::I64(*value),
        Val::F32(value) => Value::F32(*value),
        Val::F64(value) => Value::F64(*value),
        Val::V128(value) => Value::V128(value.as_u128()),
        Val::FuncRef(func) => Value::Func(func.map(|func| {
            let ty = func.ty(store.as_context_mut());
            (ty.params().len(), ty.results().len())
        })),
        Val::ExternRef(object) => Value::Extern(object.as_ref().and_then(|object| {
            let data = object.data(store.as_context_mut()).ok()??;
            data.downcast_ref().copied()
        })),
        Val::AnyRef(_) | Val::ExnRef(_) => Value::Extern(Some(u32::MAX)),
    }
}

fn val(store: impl AsContextMut, value: Value) -> Result<Val> {
    Ok(match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(value) => Val::F32(value),
        Value::F64(value) => Val::F64(value),
        Value::V128(value) => Val::V128(value.into()),
        Value::Func(_) => Val::FuncRef(None),
        Value::Extern(None) => Val::ExternRef(None),
        Value::Extern(Some(object)) => Val::ExternRef(Some(ExternRef::new(store, object)?)),
    })
}
