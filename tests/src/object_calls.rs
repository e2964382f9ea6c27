//! Any sequence of calls of the embedding API about garbage-collected values, checked against a
//! model of what they must hold.

use anyhow::{Context, Result, bail, ensure};
use arbitrary::{Arbitrary, Unstructured};
use waxwing::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, AsContext, AsContextMut, Caller, Engine, ExnRef,
    ExnRefPre, ExnType, Extern, ExternRef, FieldType, Func, FuncType, Global, GlobalType, I31,
    Instance, ManuallyRooted, Module, Mutability, OwnedRooted, Ref, RefType, RootScope, Rooted,
    StorageType, Store, StructRef, StructRefPre, StructType, Table, TableType, Tag, TagType,
    ThrownException, Val, ValType,
};

/// One call. Small numbers choose among what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Call {
    NewStruct { number: i64, next: u8 },
    NewArray { len: u8, element: u8 },
    NewI31 { value: i32 },
    NewHost { number: u32 },
    Set { object: u8, at: u8, value: u8 },
    Get { object: u8, at: u8, keep: bool },
    Forget { value: u8 },
    SetGlobal { value: u8 },
    GetGlobal { keep: bool },
    SetTable { at: u8, value: u8 },
    GetTable { at: u8, keep: bool },
    FillTable { at: u8, value: u8, len: u8 },
    Pass { value: u8, keep: bool },
    Convert { value: u8 },
    Churn { count: u8 },
    Link { value: u8, times: u8 },
    Throw { value: u8 },
    ThrowFromHost { value: u8 },
    Collect,
    NewStore,
}

/// What a reference refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Null,
    I31(i32),
    Host(u32),
    /// The struct of this number, which is its first field.
    Struct(usize),
    /// The array of this number, which nothing in it tells.
    Array(usize),
}

/// How deep values are compared.
const DEPTH: usize = 4;

/// How many values the host holds on to.
const HELD: usize = 40;

const TABLE: usize = 8;

const MODULE: &str = r#"(module
    (type $node (struct (field i32) (field (mut i64)) (field (mut anyref))))
    (import "host" "throw" (func $throw-from-host (param anyref)))
    (import "host" "tag" (tag $tag (param anyref)))
    (import "host" "table" (table $table 8 anyref))
    (import "host" "global" (global $global (mut anyref)))
    (func (export "pass") (param anyref) (result anyref)
        (local anyref)
        (local.set 1 (local.get 0))
        (drop (struct.new $node (i32.const -1) (i64.const -1) (local.get 0)))
        (local.get 1))
    (func (export "churn") (param $count i32)
        (local $kept anyref)
        (loop $more
            (if (local.get $count)
                (then
                    (local.set $kept (struct.new $node
                        (i32.const -1) (i64.const -1) (local.get $kept)))
                    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                    (br $more)))))
    ;; Writes the value to the global and to each place of the table, with allocations between.
    (func (export "link") (param $value anyref) (param $times i32)
        (loop $more
            (if (local.get $times)
                (then
                    (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                    (table.set $table (i32.and (local.get $times) (i32.const 7))
                        (local.get $value))
                    (drop (struct.new $node (i32.const -1) (i64.const -1) (global.get $global)))
                    (global.set $global (local.get $value))
                    (br $more)))))
    (func (export "throw") (param anyref) (throw $tag (local.get 0)))
    (func (export "catch") (param anyref) (result anyref)
        (block $caught (result anyref)
            (try_table (catch $tag $caught) (call $throw-from-host (local.get 0)))
            (unreachable))))"#;

/// Compiled code and types, which all stores of an engine share.
pub struct Setting {
    engine: Engine,
    module: Module,
    node: StructType,
    array: ArrayType,
}

impl Setting {
    /// The setting for `engine`, which has the proposals for garbage collection and exceptions on.
    ///
    /// # Panics
    ///
    /// When the engine does not compile what is valid.
    pub fn new(engine: &Engine) -> Setting {
        let any = || StorageType::ValType(ValType::Ref(RefType::ANYREF));
        let node = StructType::new(
            engine,
            [
                FieldType::new(Mutability::Const, StorageType::ValType(ValType::I32)),
                FieldType::new(Mutability::Var, StorageType::ValType(ValType::I64)),
                FieldType::new(Mutability::Var, any()),
            ],
        );
        Setting {
            engine: engine.clone(),
            module: Module::new(engine, MODULE).expect("the module compiles"),
            node: node.expect("the type is well formed"),
            array: ArrayType::new(engine, FieldType::new(Mutability::Var, any())),
        }
    }
}

/// A value that the host holds on to, in one of the two ways that there are.
enum Held {
    Manually(ManuallyRooted<AnyRef>),
    Owned(OwnedRooted<AnyRef>),
}

impl Held {
    fn new(mut store: impl AsContextMut, value: Rooted<AnyRef>, manually: bool) -> Result<Held> {
        Ok(if manually {
            Held::Manually(value.to_manually_rooted(&mut store)?)
        } else {
            Held::Owned(value.to_owned_rooted(&mut store)?)
        })
    }

    fn to_rooted(&self, store: impl AsContextMut) -> Rooted<AnyRef> {
        match self {
            Held::Manually(value) => value.to_rooted(store),
            Held::Owned(value) => value.to_rooted(store),
        }
    }
}

/// A store with all that was made in it, and what each thing must hold.
struct World<'a> {
    setting: &'a Setting,
    store: Store<()>,
    model: Model,
    held: Vec<(Option<Held>, Value)>,
    global: (Global, Value),
    table: (Table, [Value; TABLE]),
    tag: Tag,
    instance: Instance,
}

/// What the objects hold.
#[derive(Default)]
struct Model {
    structs: Vec<(i64, Value)>,
    arrays: Vec<Vec<Value>>,
}

impl<'a> World<'a> {
    fn new(setting: &'a Setting) -> Result<World<'a>> {
        let engine = &setting.engine;
        let mut store = Store::new(engine, ());
        let anyref = ValType::Ref(RefType::ANYREF);
        let tag = TagType::new(FuncType::new(engine, [anyref.clone()], []));
        let tag = Tag::new(&mut store, &tag)?;
        let throw = Func::new(
            &mut store,
            FuncType::new(engine, [anyref.clone()], []),
            move |mut caller: Caller<'_, ()>, params, _| {
                let ty = ExnType::from_tag_type(&tag.ty(&caller))?;
                let allocator = ExnRefPre::new(&mut caller, ty);
                let exception = ExnRef::new(&mut caller, &allocator, &tag, params)?;
                caller.as_context_mut().throw(exception)?
            },
        );
        let ty = TableType::new(RefType::ANYREF, TABLE as u32, None);
        let table = Table::new(&mut store, ty, Ref::Any(None))?;
        let ty = GlobalType::new(anyref, Mutability::Var);
        let global = Global::new(&mut store, ty, Val::AnyRef(None))?;
        let imports = [
            Extern::Func(throw),
            Extern::Tag(tag),
            Extern::Table(table),
            Extern::Global(global),
        ];
        let instance = Instance::new(&mut store, &setting.module, &imports)?;
        Ok(World {
            setting,
            store,
            model: Model::default(),
            held: Vec::new(),
            global: (global, Value::Null),
            table: (table, [Value::Null; TABLE]),
            tag,
            instance,
        })
    }

    /// Makes one call. Those that choose among nothing do nothing.
    fn make(&mut self, call: Call) -> Result<()> {
        let World {
            setting,
            store,
            model,
            held,
            global,
            table,
            tag,
            instance,
        } = self;
        if let Call::Collect = call {
            store.gc();
            return Ok(());
        }
        let mut scope = RootScope::new(&mut *store);
        let store = &mut scope;
        let chosen = |number: u8| {
            let len = held.len();
            (len > 0).then(|| usize::from(number) % len)
        };
        // The reference and the model's value that a number chooses: null if there is none.
        let value = |store: &mut RootScope<&mut Store<()>>, number: u8| match chosen(number) {
            None => (None, Value::Null),
            Some(at) => {
                let (reference, value) = &held[at];
                let reference = reference.as_ref().map(|held| held.to_rooted(store));
                (reference, *value)
            }
        };
        let mut keep = None;
        match call {
            Call::NewStruct { number, next } => {
                let (reference, next) = value(store, next);
                let id = model.structs.len();
                model.structs.push((number, next));
                let allocator = StructRefPre::new(&mut *store, setting.node.clone());
                let fields = [
                    Val::I32(id as i32),
                    Val::I64(number),
                    Val::AnyRef(reference),
                ];
                let object = StructRef::new(&mut *store, &allocator, &fields)?;
                keep = Some((Some(object.to_anyref()), Value::Struct(id)));
            }
            Call::NewArray { len, element } => {
                let (reference, element) = value(store, element);
                let len = u32::from(len);
                let id = model.arrays.len();
                model.arrays.push(vec![element; len as usize]);
                let allocator = ArrayRefPre::new(&mut *store, setting.array.clone());
                let element = Val::AnyRef(reference);
                let object = if len % 2 == 0 {
                    ArrayRef::new(&mut *store, &allocator, &element, len)?
                } else {
                    let elements = vec![element; len as usize];
                    ArrayRef::new_fixed(&mut *store, &allocator, &elements)?
                };
                keep = Some((Some(object.to_anyref()), Value::Array(id)));
            }
            Call::NewI31 { value } => {
                let number = I31::wrapping_i32(value);
                let reference = AnyRef::from_i31(&mut *store, number);
                keep = Some((Some(reference), Value::I31(number.get_i32())));
            }
            Call::NewHost { number } => {
                let object = ExternRef::new(&mut *store, number)?;
                let reference = AnyRef::convert_extern(&mut *store, object)?;
                keep = Some((Some(reference), Value::Host(number)));
            }
            Call::Set {
                object,
                at,
                value: new,
            } => {
                let (reference, object) = value(store, object);
                let (new_reference, new) = value(store, new);
                let new_reference = Val::AnyRef(new_reference);
                match (reference, object) {
                    (Some(reference), Value::Struct(id)) => {
                        let object = reference.unwrap_struct(&*store)?;
                        object.set_field(&mut *store, 2, new_reference)?;
                        model.structs[id].1 = new;
                        ensure!(
                            object.set_field(&mut *store, 0, Val::I32(0)).is_err(),
                            "an immutable field was set"
                        );
                    }
                    (Some(reference), Value::Array(id)) => {
                        let object = reference.unwrap_array(&*store)?;
                        let set = object.set(&mut *store, at.into(), new_reference);
                        match model.arrays[id].get_mut(usize::from(at)) {
                            Some(element) => {
                                set?;
                                *element = new;
                            }
                            None => ensure!(set.is_err(), "set out of bounds"),
                        }
                    }
                    _ => {}
                }
            }
            Call::Get {
                object,
                at,
                keep: kept,
            } => {
                let (reference, object) = value(store, object);
                let found = match (reference, object) {
                    (Some(reference), Value::Struct(id)) => {
                        let object = reference.unwrap_struct(&*store)?;
                        let found = object.field(&mut *store, 2)?;
                        Some((found, model.structs[id].1))
                    }
                    (Some(reference), Value::Array(id)) => {
                        let object = reference.unwrap_array(&*store)?;
                        let found = object.get(&mut *store, at.into());
                        match model.arrays[id].get(usize::from(at)) {
                            Some(element) => Some((found?, *element)),
                            None => {
                                ensure!(found.is_err(), "got out of bounds");
                                None
                            }
                        }
                    }
                    _ => None,
                };
                if let Some((found, expected)) = found {
                    let found = any(&found)?;
                    model.check(store, found, expected, DEPTH)?;
                    keep = kept.then_some((found, expected));
                }
            }
            Call::Forget { value } => {
                if let Some(at) = chosen(value) {
                    drop(scope);
                    if let (Some(Held::Manually(value)), _) = self.held.swap_remove(at) {
                        value.unroot(&mut self.store);
                    }
                    return Ok(());
                }
            }
            Call::SetGlobal { value: new } => {
                let (reference, new) = value(store, new);
                global.0.set(&mut *store, Val::AnyRef(reference))?;
                global.1 = new;
            }
            Call::GetGlobal { keep: kept } => {
                let found = any(&global.0.get(&mut *store))?;
                model.check(store, found, global.1, DEPTH)?;
                keep = kept.then_some((found, global.1));
            }
            Call::SetTable { at, value: new } => {
                let (reference, new) = value(store, new);
                let set = table.0.set(&mut *store, at.into(), Ref::Any(reference));
                match table.1.get_mut(usize::from(at)) {
                    Some(element) => {
                        set?;
                        *element = new;
                    }
                    None => ensure!(set.is_err(), "set out of bounds"),
                }
            }
            Call::GetTable { at, keep: kept } => {
                let at = usize::from(at) % TABLE;
                let found = table.0.get(&mut *store, at as u64).context("in bounds")?;
                let found = any(&found.into())?;
                model.check(store, found, table.1[at], DEPTH)?;
                keep = kept.then_some((found, table.1[at]));
            }
            Call::FillTable {
                at,
                value: new,
                len,
            } => {
                let (reference, new) = value(store, new);
                let (at, len) = (usize::from(at), usize::from(len));
                let filled = table
                    .0
                    .fill(&mut *store, at as u64, Ref::Any(reference), len as u64);
                match table.1.get_mut(at..at + len) {
                    Some(elements) => {
                        filled?;
                        elements.fill(new);
                    }
                    None => ensure!(filled.is_err(), "filled out of bounds"),
                }
            }
            Call::Pass {
                value: passed,
                keep: kept,
            } => {
                let (reference, passed) = value(store, passed);
                let pass = instance
                    .get_typed_func::<Option<Rooted<AnyRef>>, Option<Rooted<AnyRef>>>(
                        &mut *store,
                        "pass",
                    )?;
                let found = pass.call(&mut *store, reference)?;
                model.check(store, found, passed, DEPTH)?;
                keep = kept.then_some((found, passed));
            }
            Call::Convert { value: converted } => {
                let (reference, converted) = value(store, converted);
                if let Some(reference) = reference {
                    let object = ExternRef::convert_any(&mut *store, reference)?;
                    let back = AnyRef::convert_extern(&mut *store, object)?;
                    ensure!(Rooted::ref_eq(&*store, &reference, &back)?);
                    model.check(store, Some(back), converted, DEPTH)?;
                }
            }
            Call::Churn { count } => {
                let churn = instance.get_typed_func::<i32, ()>(&mut *store, "churn")?;
                churn.call(&mut *store, count.into())?;
            }
            Call::Link {
                value: linked,
                times,
            } => {
                let (reference, linked) = value(store, linked);
                let link = instance
                    .get_typed_func::<(Option<Rooted<AnyRef>>, i32), ()>(&mut *store, "link")?;
                link.call(&mut *store, (reference, times.into()))?;
                for at in 0..usize::from(times).min(TABLE) {
                    table.1[at] = linked;
                }
                if times > 0 {
                    global.1 = linked;
                }
            }
            Call::Throw { value: thrown } => {
                let (reference, thrown) = value(store, thrown);
                let throw =
                    instance.get_typed_func::<Option<Rooted<AnyRef>>, ()>(&mut *store, "throw")?;
                let Err(error) = throw.call(&mut *store, reference) else {
                    bail!("what throws returned");
                };
                ensure!(error.is::<ThrownException>(), "{error:?}");
                let exception = store.as_context_mut().take_pending_exception();
                let exception = exception.context("an exception is pending")?;
                ensure!(Tag::eq(&exception.tag(&mut *store)?, tag, &*store));
                let found = any(&exception.field(&mut *store, 0)?)?;
                model.check(store, found, thrown, DEPTH)?;
            }
            Call::ThrowFromHost { value: thrown } => {
                let (reference, thrown) = value(store, thrown);
                let catch = instance
                    .get_typed_func::<Option<Rooted<AnyRef>>, Option<Rooted<AnyRef>>>(
                        &mut *store,
                        "catch",
                    )?;
                let found = catch.call(&mut *store, reference)?;
                model.check(store, found, thrown, DEPTH)?;
                ensure!(
                    store.as_context_mut().take_pending_exception().is_none(),
                    "a caught exception is pending"
                );
            }
            Call::Collect | Call::NewStore => {}
        }
        if let Some((reference, value)) = keep {
            let manually = held.len() % 2 == 0;
            let reference = match reference {
                Some(reference) => Some(Held::new(&mut *store, reference, manually)?),
                None => None,
            };
            drop(scope);
            if self.held.len() == HELD {
                let (oldest, _) = self.held.remove(0);
                if let Some(Held::Manually(oldest)) = oldest {
                    oldest.unroot(&mut self.store);
                }
            }
            self.held.push((reference, value));
        }
        Ok(())
    }

    /// Everything that is held must be what it was.
    fn check_all(&mut self) -> Result<()> {
        let mut scope = RootScope::new(&mut self.store);
        for (reference, value) in &self.held {
            let reference = reference.as_ref().map(|held| held.to_rooted(&mut scope));
            self.model.check(&mut scope, reference, *value, DEPTH)?;
        }
        for (at, value) in self.table.1.iter().enumerate() {
            let found = self.table.0.get(&mut scope, at as u64);
            let found = any(&found.context("in bounds")?.into())?;
            self.model.check(&mut scope, found, *value, DEPTH)?;
        }
        Ok(())
    }
}

fn any(value: &Val) -> Result<Option<Rooted<AnyRef>>> {
    match value {
        Val::AnyRef(reference) => Ok(*reference),
        other => bail!("expected an anyref, found {other:?}"),
    }
}

impl Model {
    /// `found` must be `expected`, and what it refers to must hold what the model says.
    fn check(
        &self,
        store: &mut RootScope<&mut Store<()>>,
        found: Option<Rooted<AnyRef>>,
        expected: Value,
        depth: usize,
    ) -> Result<()> {
        let Some(found) = found else {
            ensure!(expected == Value::Null, "{expected:?} became null");
            return Ok(());
        };
        match expected {
            Value::Null => bail!("null became {:?}", found.ty(&*store)?),
            Value::I31(value) => {
                let found = found.as_i31(&*store)?.map(|found| found.get_i32());
                ensure!(found == Some(value), "{expected:?} became {found:?}");
            }
            Value::Host(number) => {
                let object = ExternRef::convert_any(&mut *store, found)?;
                let data = object.data(store.as_context())?;
                let found = data.and_then(|data| data.downcast_ref::<u32>()).copied();
                ensure!(found == Some(number), "{expected:?} became {found:?}");
            }
            Value::Struct(id) => {
                let object = found.as_struct(&*store)?.context("it is a struct")?;
                let (number, next) = self.structs[id];
                let found = object.field(&mut *store, 0)?.i32();
                ensure!(found == Some(id as i32), "{expected:?} became {found:?}");
                let found = object.field(&mut *store, 1)?.i64();
                ensure!(found == Some(number), "{number} of {expected:?}: {found:?}");
                if depth > 0 {
                    let found = any(&object.field(&mut *store, 2)?)?;
                    self.check(store, found, next, depth - 1)?;
                }
            }
            Value::Array(id) => {
                let object = found.as_array(&*store)?.context("it is an array")?;
                let elements = &self.arrays[id];
                let len = object.len(&*store)?;
                ensure!(len as usize == elements.len(), "{expected:?} has {len}");
                if depth > 0 {
                    // Enough to notice, and not too many to look at.
                    for at in (0..len).step_by(1 + elements.len() / 3) {
                        let found = any(&object.get(&mut *store, at)?)?;
                        self.check(store, found, elements[at as usize], depth - 1)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Makes the calls that `u` describes in stores of `setting`.
///
/// # Errors
///
/// When the engine does not do what the model says.
pub fn run(setting: &Setting, u: &mut Unstructured<'_>) -> Result<u64> {
    let mut world = World::new(setting)?;
    let mut calls = 0;
    while !u.is_empty() {
        let Ok(call) = u.arbitrary() else { break };
        calls += 1;
        if let Call::NewStore = call {
            // One in many, so that stores grow old.
            if u.ratio(1, 20).unwrap_or(false) {
                world.check_all()?;
                world = World::new(setting)?;
            }
            continue;
        }
        world
            .make(call)
            .with_context(|| format!("call {calls}: {call:?}"))?;
    }
    world.check_all().context("in the end")?;
    Ok(calls)
}
