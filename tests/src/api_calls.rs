//! Any sequence of calls of the embedding API, checked against a model of what it must do.

use anyhow::{Context, Result, ensure};
use arbitrary::{Arbitrary, Unstructured};
use std::sync::LazyLock;
use waxwing::{
    AsContextMut, Engine, Extern, ExternRef, Func, FuncType, Global, GlobalType, HeapType,
    Instance, Memory, MemoryType, Module, Mutability, Ref, RefType, Store, Table, TableType, Trap,
    Val, ValType,
};

/// One call. Small numbers choose among what there is.
#[derive(Arbitrary, Debug)]
enum Call {
    NewMemory {
        kind: MemoryKind,
        min: u8,
        max: Option<u8>,
    },
    GrowMemory {
        memory: u8,
        by: u8,
    },
    WriteMemory {
        memory: u8,
        at: u32,
        bytes: Vec<u8>,
    },
    ReadMemory {
        memory: u8,
        at: u32,
        len: u16,
    },
    NewTable {
        min: u8,
        max: Option<u8>,
        init: Option<u32>,
    },
    GrowTable {
        table: u8,
        by: u8,
        init: Option<u32>,
    },
    SetTable {
        table: u8,
        at: u16,
        value: Option<u32>,
    },
    GetTable {
        table: u8,
        at: u16,
    },
    FillTable {
        table: u8,
        at: u16,
        value: Option<u32>,
        len: u8,
    },
    CopyTable {
        to: u8,
        to_at: u16,
        from: u8,
        from_at: u16,
        len: u8,
    },
    NewGlobal {
        mutable: bool,
        value: i64,
    },
    SetGlobal {
        global: u8,
        value: i64,
    },
    GetGlobal {
        global: u8,
    },
    Instantiate {
        memory: u8,
        table: u8,
        global: u8,
    },
    Store {
        instance: u8,
        at: u32,
        value: i64,
    },
    Load {
        instance: u8,
        at: u32,
    },
    Grow {
        instance: u8,
        by: u8,
    },
    AddToGlobal {
        instance: u8,
        value: i64,
    },
    GetElement {
        instance: u8,
        at: u32,
    },
    HostFunction {
        instance: u8,
        value: i64,
        fail: bool,
    },
    FreeFunction {
        value: i64,
    },
    Recurse {
        instance: u8,
    },
    Serialize,
    NewStore,
}

/// The kinds of memory of which [`MODULE`] can import the first.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum MemoryKind {
    Of32Bits,
    Of64Bits,
    WithPagesOfOneByte,
}

impl MemoryKind {
    /// The size of a page.
    fn page(self) -> usize {
        match self {
            MemoryKind::Of32Bits | MemoryKind::Of64Bits => 1 << 16,
            MemoryKind::WithPagesOfOneByte => 1,
        }
    }

    fn ty(self, min: u32, max: Option<u32>) -> Result<MemoryType> {
        Ok(match self {
            MemoryKind::Of32Bits => MemoryType::new(min, max),
            MemoryKind::Of64Bits => MemoryType::new64(min.into(), max.map(u64::from)),
            MemoryKind::WithPagesOfOneByte => MemoryType::builder()
                .min(min.into())
                .max(max.map(u64::from))
                .page_size_log2(0)
                .build()?,
        })
    }
}

const MODULE: &str = r#"(module
    (import "host" "memory" (memory 0))
    (import "host" "table" (table 0 externref))
    (import "host" "global" (global $global (mut i64)))
    (import "host" "call" (func $call (param i64 i32) (result i64)))
    (func (export "store") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
    (func (export "load") (param i32) (result i64) (i64.load (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "add") (param i64) (result i64)
        (global.set $global (i64.add (global.get $global) (local.get 0)))
        (global.get $global))
    (func (export "element") (param i32) (result externref) (table.get (local.get 0)))
    (func (export "call") (param i64 i32) (result i64) (call $call (local.get 0) (local.get 1)))
    (func $recurse (export "recurse") (result i64) (i64.add (i64.const 1) (call $recurse))))"#;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = crate::engines::config();
    config.max_wasm_stack(128 << 10);
    Engine::new(&config).expect("the engine can be made")
});
static COMPILED: LazyLock<Module> =
    LazyLock::new(|| Module::new(&ENGINE, MODULE).expect("the module compiles"));

/// A store with all that was made in it, and what each thing must hold.
struct World {
    store: Store<u64>,
    /// With what they hold, the most pages that they may have, and their kind.
    memories: Vec<(Memory, Vec<u8>, usize, MemoryKind)>,
    tables: Vec<(Table, Vec<Option<u32>>, usize)>,
    globals: Vec<(Global, i64, bool)>,
    /// With the indices of the memory, table and global that it imports.
    instances: Vec<(Instance, usize, usize, usize)>,
    host_calls: u64,
}

impl World {
    fn new() -> Self {
        World {
            store: Store::new(&ENGINE, 0),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            instances: Vec::new(),
            host_calls: 0,
        }
    }

    fn reference(&mut self, value: Option<u32>) -> Result<Ref> {
        Ok(match value {
            None => Ref::Extern(None),
            Some(value) => Ref::Extern(Some(ExternRef::new(&mut self.store, value)?)),
        })
    }

    fn number(&self, reference: Option<&waxwing::Rooted<ExternRef>>) -> Result<Option<u32>> {
        let Some(reference) = reference else {
            return Ok(None);
        };
        let data = reference.data(&self.store)?.context("it is of the host")?;
        Ok(Some(*data.downcast_ref().context("it is a number")?))
    }

    /// Makes one call. Those that choose among nothing do nothing.
    fn make(&mut self, call: Call) -> Result<()> {
        match call {
            Call::NewMemory { kind, min, max } => {
                let (min, max) = (u32::from(min % 4), max.map(|max| u32::from(max % 8)));
                // What the type refuses is not made.
                if max.is_some_and(|max| max < min) || self.memories.len() >= 4 {
                    return Ok(());
                }
                let memory = Memory::new(&mut self.store, kind.ty(min, max)?)?;
                let limit = max.map_or(usize::MAX, |max| max as usize);
                let model = vec![0; min as usize * kind.page()];
                self.memories.push((memory, model, limit, kind));
            }
            Call::GrowMemory { memory, by } => {
                let Some(at) = choose(memory, &self.memories) else {
                    return Ok(());
                };
                let (memory, model, limit, kind) = &mut self.memories[at];
                let page = kind.page();
                let (before, by) = (model.len() / page, usize::from(by % 8));
                let grown = memory.grow(&mut self.store, by as u64);
                if before + by <= (*limit).min(40) {
                    ensure!(grown? == before as u64, "growing returns the old size");
                    model.resize((before + by) * page, 0);
                } else if before + by > *limit {
                    ensure!(grown.is_err(), "a memory grew past its limit");
                } else if grown.is_ok() {
                    model.resize((before + by) * page, 0);
                }
                ensure!(memory.data_size(&self.store) == model.len());
            }
            Call::WriteMemory { memory, at, bytes } => {
                let Some(index) = choose(memory, &self.memories) else {
                    return Ok(());
                };
                let (memory, model, ..) = &mut self.memories[index];
                let at = near(at, model.len());
                let written = memory.write(&mut self.store, at, &bytes);
                match at
                    .checked_add(bytes.len())
                    .filter(|end| *end <= model.len())
                {
                    Some(end) => {
                        written?;
                        model[at..end].copy_from_slice(&bytes);
                    }
                    None => ensure!(written.is_err(), "written out of bounds"),
                }
            }
            Call::ReadMemory { memory, at, len } => {
                let Some(index) = choose(memory, &self.memories) else {
                    return Ok(());
                };
                let (memory, model, ..) = &self.memories[index];
                let at = near(at, model.len());
                let mut buffer = vec![0; usize::from(len)];
                let read = memory.read(&self.store, at, &mut buffer);
                match model.get(at..at.saturating_add(buffer.len())) {
                    Some(expected) => {
                        read?;
                        ensure!(buffer == expected, "read something else at {at}");
                    }
                    None => ensure!(read.is_err(), "read out of bounds"),
                }
            }
            Call::NewTable { min, max, init } => {
                let (min, max) = (u32::from(min), max.map(u32::from));
                if max.is_some_and(|max| max < min) || self.tables.len() >= 4 {
                    return Ok(());
                }
                let ty = TableType::new(RefType::EXTERNREF, min, max);
                let reference = self.reference(init)?;
                let table = Table::new(&mut self.store, ty, reference)?;
                let limit = max.map_or(usize::MAX, |max| max as usize);
                self.tables.push((table, vec![init; min as usize], limit));
            }
            Call::GrowTable { table, by, init } => {
                let Some(at) = choose(table, &self.tables) else {
                    return Ok(());
                };
                let reference = self.reference(init)?;
                let (table, model, limit) = &mut self.tables[at];
                let (before, by) = (model.len(), usize::from(by));
                let grown = table.grow(&mut self.store, by as u64, reference);
                if before + by <= *limit {
                    ensure!(grown? == before as u64, "growing returns the old size");
                    model.resize(before + by, init);
                } else {
                    ensure!(grown.is_err(), "a table grew past its limit");
                }
            }
            Call::SetTable { table, at, value } => {
                let Some(index) = choose(table, &self.tables) else {
                    return Ok(());
                };
                let reference = self.reference(value)?;
                let (table, model, _) = &mut self.tables[index];
                let at = near(at.into(), model.len());
                let set = table.set(&mut self.store, at as u64, reference);
                match model.get_mut(at) {
                    Some(slot) => {
                        set?;
                        *slot = value;
                    }
                    None => ensure!(set.is_err(), "set out of bounds"),
                }
            }
            Call::GetTable { table, at } => {
                let Some(index) = choose(table, &self.tables) else {
                    return Ok(());
                };
                let (table, model, _) = &self.tables[index];
                let at = near(at.into(), model.len());
                let expected = model.get(at).copied();
                let found = table.get(&mut self.store, at as u64);
                match (expected, found) {
                    (None, None) => {}
                    (Some(expected), Some(Ref::Extern(found))) => {
                        ensure!(self.number(found.as_ref())? == expected);
                    }
                    (expected, found) => anyhow::bail!("{expected:?} became {found:?}"),
                }
            }
            Call::FillTable {
                table,
                at,
                value,
                len,
            } => {
                let Some(index) = choose(table, &self.tables) else {
                    return Ok(());
                };
                let reference = self.reference(value)?;
                let (table, model, _) = &mut self.tables[index];
                let (at, len) = (near(at.into(), model.len()), usize::from(len));
                let filled = table.fill(&mut self.store, at as u64, reference, len as u64);
                match model.get_mut(at..at.saturating_add(len)) {
                    Some(slots) => {
                        filled?;
                        slots.fill(value);
                    }
                    None => ensure!(filled.is_err(), "filled out of bounds"),
                }
            }
            Call::CopyTable {
                to,
                to_at,
                from,
                from_at,
                len,
            } => {
                let (Some(to), Some(from)) = (choose(to, &self.tables), choose(from, &self.tables))
                else {
                    return Ok(());
                };
                let len = usize::from(len);
                let from_at = near(from_at.into(), self.tables[from].1.len());
                let to_at = near(to_at.into(), self.tables[to].1.len());
                let copied = Table::copy(
                    &mut self.store,
                    &self.tables[to].0,
                    to_at as u64,
                    &self.tables[from].0,
                    from_at as u64,
                    len as u64,
                );
                let source = self.tables[from]
                    .1
                    .get(from_at..from_at.saturating_add(len));
                let source = source.map(<[_]>::to_vec);
                let target = self.tables[to].1.get_mut(to_at..to_at.saturating_add(len));
                match (source, target) {
                    (Some(source), Some(target)) => {
                        copied?;
                        target.copy_from_slice(&source);
                    }
                    _ => ensure!(copied.is_err(), "copied out of bounds"),
                }
            }
            Call::NewGlobal { mutable, value } => {
                if self.globals.len() < 8 {
                    let mutability = if mutable {
                        Mutability::Var
                    } else {
                        Mutability::Const
                    };
                    let ty = GlobalType::new(ValType::I64, mutability);
                    let global = Global::new(&mut self.store, ty, Val::I64(value))?;
                    self.globals.push((global, value, mutable));
                }
            }
            Call::SetGlobal { global, value } => {
                let Some(at) = choose(global, &self.globals) else {
                    return Ok(());
                };
                let (global, model, mutable) = &mut self.globals[at];
                ensure!(
                    global.set(&mut self.store, Val::I32(1)).is_err(),
                    "of another type"
                );
                let set = global.set(&mut self.store, Val::I64(value));
                if *mutable {
                    set?;
                    *model = value;
                } else {
                    ensure!(set.is_err(), "a constant was set");
                }
            }
            Call::GetGlobal { global } => {
                let Some(at) = choose(global, &self.globals) else {
                    return Ok(());
                };
                let (global, model, _) = &self.globals[at];
                ensure!(global.get(&mut self.store).i64() == Some(*model));
            }
            Call::Instantiate {
                memory,
                table,
                global,
            } => {
                let (Some(memory), Some(table), Some(global)) = (
                    choose(memory, &self.memories),
                    choose(table, &self.tables),
                    choose(global, &self.globals),
                ) else {
                    return Ok(());
                };
                if self.instances.len() >= 8 {
                    return Ok(());
                }
                let call = Func::wrap(
                    &mut self.store,
                    |mut caller: waxwing::Caller<'_, u64>, value: i64, fail: i32| {
                        *caller.data_mut() += 1;
                        anyhow::ensure!(fail == 0, "on purpose");
                        Ok(value.wrapping_mul(3))
                    },
                );
                let imports = [
                    Extern::Memory(self.memories[memory].0),
                    Extern::Table(self.tables[table].0),
                    Extern::Global(self.globals[global].0),
                    Extern::Func(call),
                ];
                let instance = Instance::new(&mut self.store, &COMPILED, &imports);
                if self.globals[global].2 && self.memories[memory].3 == MemoryKind::Of32Bits {
                    self.instances.push((instance?, memory, table, global));
                } else {
                    ensure!(
                        instance.is_err(),
                        "an item satisfied an import of another type"
                    );
                }
            }
            Call::Store {
                instance,
                at,
                value,
            } => {
                let Some((instance, memory, ..)) = self.instance(instance) else {
                    return Ok(());
                };
                let store = instance.get_typed_func::<(i32, i64), ()>(&mut self.store, "store")?;
                let model = &mut self.memories[memory].1;
                let at = near(at, model.len());
                let stored = store.call(&mut self.store, (at as i32, value));
                match model.get_mut(at..at + 8) {
                    Some(slot) => {
                        stored?;
                        slot.copy_from_slice(&value.to_le_bytes());
                    }
                    None => trapped(stored, Trap::MemoryOutOfBounds)?,
                }
            }
            Call::Load { instance, at } => {
                let Some((instance, memory, ..)) = self.instance(instance) else {
                    return Ok(());
                };
                let load = instance.get_typed_func::<i32, i64>(&mut self.store, "load")?;
                let model = &self.memories[memory].1;
                let at = near(at, model.len());
                let loaded = load.call(&mut self.store, at as i32);
                match model.get(at..at + 8) {
                    Some(bytes) => ensure!(loaded?.to_le_bytes() == bytes),
                    None => trapped(loaded, Trap::MemoryOutOfBounds)?,
                }
            }
            Call::Grow { instance, by } => {
                let Some((instance, memory, ..)) = self.instance(instance) else {
                    return Ok(());
                };
                let grow = instance.get_typed_func::<i32, i32>(&mut self.store, "grow")?;
                let (_, model, limit, kind) = &mut self.memories[memory];
                let page = kind.page();
                let (before, by) = (model.len() / page, usize::from(by % 4));
                if before + by > (*limit).max(40) {
                    return Ok(());
                }
                let grown = grow.call(&mut self.store, by as i32)?;
                if before + by > *limit {
                    ensure!(grown == -1, "a memory grew past its limit");
                } else {
                    ensure!(grown == before as i32, "growing returns the old size");
                    model.resize((before + by) * page, 0);
                }
            }
            Call::AddToGlobal { instance, value } => {
                let Some((instance, _, _, global)) = self.instance(instance) else {
                    return Ok(());
                };
                let add = instance.get_typed_func::<i64, i64>(&mut self.store, "add")?;
                let model = &mut self.globals[global].1;
                *model = model.wrapping_add(value);
                ensure!(add.call(&mut self.store, value)? == *model);
            }
            Call::GetElement { instance, at } => {
                let Some((instance, _, table, _)) = self.instance(instance) else {
                    return Ok(());
                };
                let element = instance
                    .get_func(&mut self.store, "element")
                    .context("it is exported")?;
                let model = &self.tables[table].1;
                let at = near(at, model.len());
                let expected = model.get(at).copied();
                let mut results = [Val::I32(0)];
                let called = element.call(&mut self.store, &[Val::I32(at as i32)], &mut results);
                match expected {
                    Some(expected) => {
                        called?;
                        let found = results[0].extern_ref().context("it is an externref")?;
                        ensure!(self.number(found)? == expected);
                    }
                    None => trapped(called, Trap::TableOutOfBounds)?,
                }
            }
            Call::HostFunction {
                instance,
                value,
                fail,
            } => {
                let Some((instance, ..)) = self.instance(instance) else {
                    return Ok(());
                };
                let call = instance.get_typed_func::<(i64, i32), i64>(&mut self.store, "call")?;
                let result = call.call(&mut self.store, (value, fail.into()));
                self.host_calls += 1;
                ensure!(*self.store.data() == self.host_calls);
                match result {
                    Ok(result) => ensure!(!fail && result == value.wrapping_mul(3)),
                    Err(error) => ensure!(fail && format!("{error:?}").contains("on purpose")),
                }
            }
            Call::FreeFunction { value } => {
                let ty = FuncType::new(&ENGINE, [ValType::I64], [ValType::I64, ValType::EXTERNREF]);
                let func = Func::new(&mut self.store, ty, |_, params, results| {
                    results[0] = Val::I64(!params[0].unwrap_i64());
                    results[1] = Val::null_ref(&HeapType::Extern);
                    Ok(())
                });
                let mut results = [Val::I32(0), Val::I32(0)];
                func.call(&mut self.store, &[Val::I64(value)], &mut results)?;
                ensure!(results[0].i64() == Some(!value));
                ensure!(matches!(results[1], Val::ExternRef(None)));
                let wrong = func.call(&mut self.store, &[Val::I32(1)], &mut results);
                ensure!(wrong.is_err(), "an argument of the wrong type was taken");
                ensure!(func.call(&mut self.store, &[], &mut results).is_err());
                ensure!(func.typed::<i64, i64>(&self.store).is_err());
            }
            Call::Recurse { instance } => {
                let Some((instance, ..)) = self.instance(instance) else {
                    return Ok(());
                };
                let recurse = instance.get_typed_func::<(), i64>(&mut self.store, "recurse")?;
                trapped(recurse.call(&mut self.store, ()), Trap::StackOverflow)?;
            }
            Call::Serialize => {
                let artifact = COMPILED.serialize()?;
                // SAFETY: the artifact was just made by this engine.
                let module = unsafe { Module::deserialize(&ENGINE, artifact) }?;
                ensure!(module.exports().len() == COMPILED.exports().len());
            }
            Call::NewStore => *self = World::new(),
        }
        Ok(())
    }

    fn instance(&self, n: u8) -> Option<(Instance, usize, usize, usize)> {
        choose(n, &self.instances).map(|at| self.instances[at])
    }

    /// Everything must hold what it should.
    fn check(&mut self) -> Result<()> {
        for (memory, model, ..) in &self.memories {
            ensure!(memory.data(&self.store) == model, "a memory differs");
        }
        for (table, model, _) in &self.tables {
            ensure!(table.size(self.store.as_context_mut()) == model.len() as u64);
        }
        for (global, model, _) in &self.globals {
            ensure!(global.get(&mut self.store).i64() == Some(*model));
        }
        Ok(())
    }
}

/// The index that `n` chooses among `items`.
fn choose<T>(n: u8, items: &[T]) -> Option<usize> {
    usize::from(n).checked_rem(items.len())
}

/// A place in something of size `len`, or a little or far outside.
fn near(at: u32, len: usize) -> usize {
    match at % 8 {
        0 => at as usize,
        1 => (len + (at >> 3) as usize % 16)
            .saturating_sub(8)
            .min(u32::MAX as usize),
        _ => (at >> 3) as usize % (len + 1),
    }
}

fn trapped<R>(result: Result<R>, trap: Trap) -> Result<()> {
    match result {
        Ok(_) => anyhow::bail!("no trap where {trap} was expected"),
        Err(error) => ensure!(
            error.downcast_ref::<Trap>() == Some(&trap),
            "{trap} was expected: {error:?}"
        ),
    }
    Ok(())
}

/// Makes the calls that `u` describes and returns how many there were.
///
/// # Errors
///
/// When one does not do what it should.
pub fn run(u: &mut Unstructured<'_>) -> Result<u64> {
    let mut world = World::new();
    let mut made = 0;
    while !u.is_empty() && made < 300 {
        let Ok(call) = Call::arbitrary(u) else { break };
        let description = format!("call {made}: {call:?}");
        world.make(call).context(description)?;
        made += 1;
    }
    world.check()?;
    Ok(made)
}
