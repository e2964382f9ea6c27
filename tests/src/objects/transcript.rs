//! Following a plan, and writing down what can be seen.

use super::plan::{Arg, Audience, Exported, Plan};
use crate::smith::{FUEL, FUEL_EXPORT};
use anyhow::{Error, Result};
use std::fmt::Write;
use waxwing::{
    AnyRef, Engine, ExnRef, Extern, ExternRef, GcHeapOutOfMemory, I31, Instance, Module, Rooted,
    Store, StoreLimits, StoreLimitsBuilder, ThrownException, Trap, Val, ValType,
};

/// How deep objects are looked into.
const DEPTH: usize = 4;

/// How many elements of an array are looked at.
const ELEMENTS: u32 = 4;

/// How large heaps become before that is a limit, in bytes. The modules' own memories are smaller.
const MAX_HEAP: usize = 256 << 20;

/// What is written where an engine reached a limit of its own.
const LIMIT: &str = "limit";

/// What was seen, one line an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript(Vec<String>);

impl Transcript {
    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// The first line that says that the engine reached a limit of its own, such as the size of a
    /// stack or a heap. Engines differ from there on.
    pub fn limit(&self) -> Option<usize> {
        self.0.iter().position(|line| line.ends_with(LIMIT))
    }

    /// How many calls returned, and how many there were.
    pub fn calls(&self) -> (u64, u64) {
        let calls = self.0.iter().filter(|line| line.starts_with("call "));
        let returned = calls.clone().filter(|line| line.contains(": returned"));
        (returned.count() as u64, calls.count() as u64)
    }
}

impl FromIterator<String> for Transcript {
    fn from_iter<I: IntoIterator<Item = String>>(lines: I) -> Self {
        Transcript(lines.into_iter().collect())
    }
}

/// Follows `plan` with `wasm`, which it was made for, on `engine`.
///
/// # Errors
///
/// When the engine does not compile the module, or refuses what is valid.
pub fn transcribe(
    engine: &Engine,
    wasm: &[u8],
    plan: &Plan,
    audience: Audience,
) -> Result<Transcript> {
    let module = Module::new(engine, wasm)?;
    let limits = StoreLimitsBuilder::new().memory_size(MAX_HEAP).build();
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    let mut lines = Vec::new();
    let instance = match Instance::new(&mut store, &module, &[]) {
        Ok(instance) => {
            lines.push("instantiation: returned".to_string());
            instance
        }
        Err(error) => {
            let failed = failure(&mut store, None, plan, audience, error)?;
            lines.push(format!("instantiation: {failed}"));
            return Ok(Transcript(lines));
        }
    };
    let mut follower = Follower {
        store,
        instance,
        plan,
        audience,
        returned: Vec::new(),
    };
    for number in 0..plan.calls.len() {
        let outcome = follower.call(number)?;
        lines.push(format!("call {number}: {outcome}"));
    }
    for (number, item) in plan.items.iter().enumerate() {
        let state = follower.state(item)?;
        lines.push(format!("item {number}: {state}"));
    }
    Ok(Transcript(lines))
}

struct Follower<'a> {
    store: Store<StoreLimits>,
    instance: Instance,
    plan: &'a Plan,
    audience: Audience,
    /// What the calls returned, so far.
    returned: Vec<Option<Vec<Val>>>,
}

impl Follower<'_> {
    fn call(&mut self, number: usize) -> Result<String> {
        self.returned.push(None);
        let call = &self.plan.calls[number];
        let store = &mut self.store;
        if let Some(fuel) = self.instance.get_global(&mut *store, FUEL_EXPORT) {
            fuel.set(&mut *store, Val::I32(FUEL as i32))?;
        }
        let func = self
            .instance
            .get_func(&mut *store, &call.function)
            .expect("the plan is made for the module");
        let params: Vec<ValType> = func.ty(&*store).params().collect();
        let mut args = Vec::new();
        for (arg, ty) in call.args.iter().zip(&params) {
            match value(store, arg, ty, &self.returned) {
                Ok(Some(value)) => args.push(value),
                Ok(None) => return Ok("left out".to_string()),
                Err(error) if error.is::<GcHeapOutOfMemory<u32>>() => return Ok(LIMIT.to_string()),
                Err(error) => return Err(error),
            }
        }
        let mut results = vec![Val::I32(0); call.results.len()];
        if let Err(error) = func.call(&mut *store, &args, &mut results) {
            return failure(store, Some(self.instance), self.plan, self.audience, error);
        }
        let mut text = "returned".to_string();
        for result in &results {
            let _ = write!(text, " {}", describe(store, result, self.audience)?);
        }
        self.returned[number] = Some(results);
        Ok(text)
    }

    fn state(&mut self, item: &Exported) -> Result<String> {
        let name = match item {
            Exported::Global(name, _) | Exported::Memory(name) | Exported::Table(name) => name,
        };
        let store = &mut self.store;
        let item = self.instance.get_export(&mut *store, name);
        Ok(match item.expect("the plan is made for the module") {
            Extern::Global(global) => {
                let value = global.get(&mut *store);
                format!("global {}", describe(store, &value, self.audience)?)
            }
            Extern::Memory(memory) => {
                let data = memory.data(&*store);
                format!("memory of {}, {:08x}", data.len(), hash(data))
            }
            Extern::Table(table) => {
                let size = table.size(&*store);
                let mut text = format!("table of {size}:");
                for index in 0..size {
                    let element = table.get(&mut *store, index).expect("in bounds");
                    let element = describe(store, &element.into(), self.audience)?;
                    let _ = write!(text, " {element}");
                }
                text
            }
            other => anyhow::bail!("`{name}` is {other:?}"),
        })
    }
}

/// FNV-1a.
fn hash(data: &[u8]) -> u32 {
    data.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// `None` if there is no such value.
fn value(
    store: &mut Store<StoreLimits>,
    arg: &Arg,
    ty: &ValType,
    returned: &[Option<Vec<Val>>],
) -> Result<Option<Val>> {
    let null = || ty.as_ref().map(|ty| Val::null_ref(ty.heap_type()));
    Ok(match *arg {
        Arg::I32(value) => Some(Val::I32(value)),
        Arg::I64(value) => Some(Val::I64(value)),
        Arg::F32(bits) => Some(Val::F32(bits)),
        Arg::F64(bits) => Some(Val::F64(bits)),
        Arg::V128(bits) => Some(Val::V128(bits.into())),
        Arg::Null => null(),
        Arg::I31(value) => {
            let value = AnyRef::from_i31(store, I31::wrapping_i32(value));
            Some(Val::AnyRef(Some(value)))
        }
        Arg::Host(number) => {
            let object = ExternRef::new(&mut *store, number)?;
            let is_any = ty.as_ref().is_some_and(|ty| ty.heap_type().top().is_any());
            Some(if is_any {
                Val::AnyRef(Some(AnyRef::convert_extern(store, object)?))
            } else {
                Val::ExternRef(Some(object))
            })
        }
        Arg::Result {
            call,
            result,
            nullable,
        } => match returned.get(call).and_then(Option::as_ref) {
            Some(values) => values.get(result).copied(),
            None if nullable => null(),
            None => None,
        },
    })
}

/// How a call ended that did not return.
fn failure(
    store: &mut Store<StoreLimits>,
    instance: Option<Instance>,
    plan: &Plan,
    audience: Audience,
    error: Error,
) -> Result<String> {
    let script = audience == Audience::JavaScript;
    if error.is::<ThrownException>() {
        let exception = store
            .take_pending_exception()
            .expect("an exception was thrown");
        return thrown(store, instance, plan, audience, exception);
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        // What a limiter refuses, and nothing else, is neither a trap nor an exception.
        return Ok(LIMIT.to_string());
    };
    // JavaScript's engines tell fewer kinds apart.
    let trap = match trap {
        Trap::StackOverflow | Trap::AllocationTooLarge => return Ok(LIMIT.to_string()),
        Trap::MemoryOutOfBounds | Trap::TableOutOfBounds | Trap::ArrayOutOfBounds if script => {
            "out of bounds"
        }
        Trap::IndirectCallToNull | Trap::BadSignature if script => "no such function",
        Trap::IntegerOverflow | Trap::BadConversionToInteger if script => "not representable",
        Trap::NullReference => "null reference",
        Trap::CastFailure => "cast failure",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::IntegerDivisionByZero => "division by zero",
        Trap::HeapMisaligned => "not aligned",
        other => return Ok(format!("trapped: {other}")),
    };
    Ok(format!("trapped: {trap}"))
}

fn thrown(
    store: &mut Store<StoreLimits>,
    instance: Option<Instance>,
    plan: &Plan,
    audience: Audience,
    exception: Rooted<ExnRef>,
) -> Result<String> {
    let tag = exception.tag(&mut *store)?;
    if let Some(instance) = instance {
        for (number, (name, params)) in plan.tags.iter().enumerate() {
            let exported = instance.get_tag(&mut *store, name);
            let exported = exported.expect("the plan is made for the module");
            if waxwing::Tag::eq(&exported, &tag, &*store) {
                let mut text = format!("threw tag {number}");
                for index in 0..params.len() {
                    let field = exception.field(&mut *store, index)?;
                    let _ = write!(text, " {}", describe(store, &field, audience)?);
                }
                return Ok(text);
            }
        }
    }
    Ok("threw another tag".to_string())
}

fn describe(store: &mut Store<StoreLimits>, value: &Val, audience: Audience) -> Result<String> {
    let depth = match audience {
        Audience::Waxwing => DEPTH,
        Audience::JavaScript => 0,
    };
    let mut text = String::new();
    describe_to(&mut text, store, value, audience, depth)?;
    Ok(text)
}

fn describe_to(
    text: &mut String,
    store: &mut Store<StoreLimits>,
    value: &Val,
    audience: Audience,
    depth: usize,
) -> Result<()> {
    let script = audience == Audience::JavaScript;
    let any = match value {
        Val::I32(value) => return Ok(write!(text, "i32:{value}")?),
        Val::I64(value) => return Ok(write!(text, "i64:{value}")?),
        // Numbers of JavaScript do not keep what a NaN carries.
        Val::F32(bits) if script && f32::from_bits(*bits).is_nan() => {
            return Ok(write!(text, "f32:nan")?);
        }
        Val::F64(bits) if script && f64::from_bits(*bits).is_nan() => {
            return Ok(write!(text, "f64:nan")?);
        }
        Val::F32(bits) => return Ok(write!(text, "f32:{bits:08x}")?),
        Val::F64(bits) => return Ok(write!(text, "f64:{bits:016x}")?),
        Val::V128(bits) => return Ok(write!(text, "v128:{:032x}", bits.as_u128())?),
        Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) => {
            return Ok(write!(text, "null")?);
        }
        Val::FuncRef(Some(_)) => return Ok(write!(text, "func")?),
        Val::ExnRef(Some(exception)) => {
            let params = exception.ty(&*store)?.fields().len();
            write!(text, "exn(")?;
            for index in 0..params {
                let field = exception.field(&mut *store, index)?;
                if depth > 0 {
                    write!(text, " ")?;
                    describe_to(text, store, &field, audience, depth - 1)?;
                }
            }
            return Ok(write!(text, ")")?);
        }
        Val::ExternRef(Some(object)) => AnyRef::convert_extern(&mut *store, *object)?,
        Val::AnyRef(Some(object)) => *object,
    };
    if let Some(value) = any.as_i31(&*store)? {
        write!(text, "i31:{}", value.get_i32())?;
    } else if let Some(object) = any.as_struct(&*store)? {
        write!(text, "object")?;
        if depth > 0 {
            let fields = object.ty(&*store)?.fields().len();
            write!(text, "(struct")?;
            for index in 0..fields {
                let field = object.field(&mut *store, index)?;
                write!(text, " ")?;
                describe_to(text, store, &field, audience, depth - 1)?;
            }
            write!(text, ")")?;
        }
    } else if let Some(object) = any.as_array(&*store)? {
        write!(text, "object")?;
        if depth > 0 {
            let len = object.len(&*store)?;
            write!(text, "(array of {len}")?;
            for index in 0..len.min(ELEMENTS) {
                let element = object.get(&mut *store, index)?;
                write!(text, " ")?;
                describe_to(text, store, &element, audience, depth - 1)?;
            }
            write!(text, ")")?;
        }
    } else {
        let object = ExternRef::convert_any(&mut *store, any)?;
        match object
            .data(&*store)?
            .and_then(|data| data.downcast_ref::<u32>())
        {
            Some(number) => write!(text, "host:{number}")?,
            None => write!(text, "unknown")?,
        }
    }
    Ok(())
}
