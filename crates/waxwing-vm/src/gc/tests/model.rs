//! The collectors against a model: a graph of objects in plain Rust, changed in the same way.

use std::collections::HashMap;

use waxwing_environ::gc::GC_REF_I31_BIT;
use waxwing_environ::{
    DefinedGlobalIndex, DefinedTableIndex, Global, IndexType, Limits, Table, WasmFuncType,
};

use super::*;
use crate::store::{
    create_host_global, create_host_table, create_host_tag, table_copy, table_grow,
};
use crate::table::TableElement;

/// Random numbers that are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A value of the host that tells when it is dropped.
struct Counted(usize, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Relaxed);
    }
}

/// A reference in the model.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
enum Value {
    Null,
    I31(u32),
    Object(usize),
    Extern(usize),
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    Struct,
    References,
    Bytes,
    Exn,
}

struct Node {
    kind: Kind,
    references: Vec<Value>,
    len: u32,
}

/// A store and its model.
struct World {
    store: Owned,
    random: Random,
    nodes: Vec<Node>,
    /// What each of the store's host roots is.
    roots: Vec<Value>,
    globals: Vec<((InstanceId, DefinedGlobalIndex), Value)>,
    table: ((InstanceId, DefinedTableIndex), Vec<Value>),
    externs: usize,
    dropped: Arc<AtomicUsize>,
    structs: RegisteredType,
    references: RegisteredType,
    bytes: RegisteredType,
    tag: (InstanceId, DefinedTagIndex),
    /// Whether objects may refer to each other in circles.
    circles: bool,
}

impl World {
    fn new(collector: GcCollector, stress: bool, seed: u64) -> World {
        let mut store = store(collector, stress);
        let structs = struct_type(&store);
        let reference = WasmValType::Ref(ANYREF);
        let references = array_type(&store, WasmStorageType::Val(reference));
        let bytes = array_type(&store, WasmStorageType::I8);
        let func = WasmFuncType::new([WasmValType::I32, reference, reference], []);
        let func = store.core.type_registry().register(WasmSubType::func(func));
        let tag = create_host_tag(&mut *store, &func).unwrap();
        let mut globals = Vec::new();
        for _ in 0..3 {
            let ty = Global {
                wasm_ty: reference,
                mutability: true,
            };
            // SAFETY: null is of the type.
            let global = unsafe { create_host_global(&mut *store, &ty, ValRaw::null()).unwrap() };
            globals.push((global, Value::Null));
        }
        let ty = Table {
            idx_type: IndexType::I32,
            limits: Limits { min: 4, max: None },
            ref_type: ANYREF,
        };
        let null = TableElement::GcRef(None);
        let table = create_host_table(&mut *store, &ty, null).unwrap();
        World {
            store,
            random: Random(seed * 2 + 1),
            nodes: Vec::new(),
            roots: Vec::new(),
            globals,
            table: (table, vec![Value::Null; 4]),
            externs: 0,
            dropped: Arc::default(),
            structs,
            references,
            bytes,
            tag,
            circles: collector != GcCollector::DeferredReferenceCounting,
        }
    }

    fn gc(&mut self) -> &mut GcStore {
        self.store.core.gc_mut()
    }

    fn root(&mut self, value: Value, reference: VMGcRef) {
        self.roots.push(value);
        self.store.roots.push(reference);
    }

    /// Something that is rooted, or no object, and its reference.
    fn any(&mut self) -> (Value, u32) {
        if self.roots.is_empty() || self.random.one_in(8) {
            return match self.random.below(2) {
                0 => (Value::Null, 0),
                _ => {
                    let number = self.random.below(1 << 31) as u32;
                    (Value::I31(number), number << 1 | GC_REF_I31_BIT)
                }
            };
        }
        let i = self.random.below(self.roots.len());
        (self.roots[i], self.store.roots[i].get())
    }

    /// A rooted object with references.
    fn holder(&mut self) -> Option<(usize, VMGcRef)> {
        let i = self.random.below(self.roots.len().max(1));
        match self.roots.get(i) {
            Some(Value::Object(node)) if !self.nodes[*node].references.is_empty() => {
                Some((*node, self.store.roots[i]))
            }
            _ => None,
        }
    }

    fn add_node(&mut self, kind: Kind, len: u32, references: usize) -> usize {
        self.nodes.push(Node {
            kind,
            references: vec![Value::Null; references],
            len,
        });
        self.nodes.len() - 1
    }

    fn allocate(&mut self) {
        let number = self.nodes.len();
        let (node, object) = match self.random.below(8) {
            0..=3 => {
                let object = alloc_struct(&mut *self.store, &self.structs);
                let object = object.unwrap().unwrap();
                self.gc().set_field(object, 1, ValRaw::u64(number as u64));
                (self.add_node(Kind::Struct, 0, 3), object)
            }
            4 | 5 => {
                let len = match self.random.below(10) {
                    // A large object, and one of several cards that is made in the nursery.
                    0 => 5000,
                    1 => 1000,
                    _ => self.random.below(20),
                };
                let object = alloc_array(&mut *self.store, &self.references, len as u32);
                let node = self.add_node(Kind::References, len as u32, len);
                (node, object.unwrap().unwrap())
            }
            6 => {
                let len = self.random.below(100) as u32;
                let object = alloc_array(&mut *self.store, &self.bytes, len);
                let object = object.unwrap().unwrap();
                for i in 0..len {
                    let byte = ValRaw::u32((number as u32 + i) & 0xff);
                    self.gc().set_element(object, i, byte);
                }
                (self.add_node(Kind::Bytes, len, 0), object)
            }
            _ => {
                let object = alloc_exn(&mut *self.store, self.tag).unwrap().unwrap();
                self.gc().set_field(object, 0, ValRaw::u32(number as u32));
                (self.add_node(Kind::Exn, 0, 2), object)
            }
        };
        self.root(Value::Object(node), object);
    }

    /// The index of the field or element that is an object's `i`-th reference.
    fn place(kind: Kind, i: usize) -> u32 {
        match (kind, i) {
            (Kind::Struct, 0) => 0,
            (Kind::Struct, i) => i as u32 + 1,
            (Kind::Exn, i) => i as u32 + 1,
            (_, i) => i as u32,
        }
    }

    fn read(gc: &GcStore, kind: Kind, object: VMGcRef, i: usize) -> u32 {
        let place = World::place(kind, i);
        match kind {
            Kind::References => gc.element(object, place).get_anyref(),
            _ => gc.field(object, place).get_anyref(),
        }
    }

    fn write(&mut self) {
        let Some((node, object)) = self.holder() else {
            return;
        };
        let (mut value, mut reference) = self.any();
        if let Value::Object(other) = value
            && !self.circles
            && other >= node
        {
            // Objects refer to older ones alone.
            (value, reference) = (Value::Null, 0);
        }
        let i = self.random.below(self.nodes[node].references.len());
        let kind = self.nodes[node].kind;
        let place = World::place(kind, i);
        match kind {
            Kind::References => self
                .gc()
                .set_element(object, place, ValRaw::anyref(reference)),
            _ => self
                .gc()
                .set_field(object, place, ValRaw::anyref(reference)),
        }
        self.nodes[node].references[i] = value;
    }

    fn load(&mut self) {
        let Some((node, object)) = self.holder() else {
            return;
        };
        let i = self.random.below(self.nodes[node].references.len());
        let value = self.nodes[node].references[i];
        let kind = self.nodes[node].kind;
        let reference = World::read(self.store.core.gc(), kind, object, i);
        if let Some(reference) = VMGcRef::new(reference) {
            self.root(value, reference);
        }
    }

    /// Instructions over ranges of arrays.
    fn bulk(&mut self) {
        let arrays: Vec<usize> = (0..self.roots.len())
            .filter(|i| {
                matches!(self.roots[*i], Value::Object(node)
                    if self.nodes[node].kind == Kind::References && self.nodes[node].len > 0)
            })
            .collect();
        if arrays.is_empty() {
            return;
        }
        let pick = |world: &mut World| {
            let i = arrays[world.random.below(arrays.len())];
            let Value::Object(node) = world.roots[i] else {
                unreachable!("only objects were picked")
            };
            (node, world.store.roots[i])
        };
        let (dst, dst_array) = pick(self);
        let (src, src_array) = pick(self);
        let dst_len = self.nodes[dst].len as usize;
        let at = self.random.below(dst_len);
        if self.random.one_in(2) {
            let (value, reference) = self.any();
            if matches!(value, Value::Object(other) if !self.circles && other >= dst) {
                return;
            }
            let len = self.random.below(dst_len - at + 1);
            let filled =
                self.gc()
                    .array_fill(Some(dst_array), at as u32, reference.into(), len as u32);
            filled.unwrap();
            self.nodes[dst].references[at..at + len].fill(value);
        } else if self.circles || src <= dst {
            let from = self.random.below(self.nodes[src].len as usize);
            let most = (dst_len - at).min(self.nodes[src].len as usize - from);
            let len = self.random.below(most + 1);
            let (to, start, count) = (at as u32, from as u32, len as u32);
            let gc = self.gc();
            gc.array_copy(Some(dst_array), to, Some(src_array), start, count)
                .unwrap();
            let values = self.nodes[src].references[from..from + len].to_vec();
            self.nodes[dst].references[at..at + len].copy_from_slice(&values);
        }
    }

    fn change_roots_of_instances(&mut self) {
        let (value, reference) = self.any();
        let element = TableElement::GcRef(VMGcRef::new(reference));
        let ((owner, table), values) = &mut self.table;
        let (owner, table) = (*owner, *table);
        match self.random.below(4) {
            0 => {
                let i = self.random.below(self.globals.len());
                let (owner, index) = self.globals[i].0;
                // SAFETY: the global takes all references of the store.
                unsafe {
                    let value = ValRaw::anyref(reference);
                    self.store.core.global_set(owner, index, value);
                }
                self.globals[i].1 = value;
            }
            1 => {
                let at = self.random.below(values.len());
                let len = self.random.below(values.len() - at + 1);
                let core = &mut self.store.core;
                core.table_fill(owner, table, at as u64, element, len as u64)
                    .unwrap();
                values[at..at + len].fill(value);
            }
            2 if values.len() < 20 => {
                let delta = self.random.below(3);
                table_grow(&mut *self.store, owner, table, delta as u64, element).unwrap();
                values.extend(std::iter::repeat_n(value, delta));
            }
            _ => {
                let from = self.random.below(values.len());
                let to = self.random.below(values.len());
                let len = self.random.below(values.len() - from.max(to) + 1);
                let core = &mut self.store.core;
                let table = (owner, table);
                table_copy(core, table, to as u64, table, from as u64, len as u64).unwrap();
                values.copy_within(from..from + len, to);
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=6 => self.allocate(),
            7..=11 => self.write(),
            12 | 13 => self.load(),
            14 => self.bulk(),
            15 => self.change_roots_of_instances(),
            16 => {
                let number = self.externs;
                self.externs += 1;
                let value = Counted(number, Arc::clone(&self.dropped));
                let reference = alloc_extern(&mut *self.store, Box::new(value))
                    .unwrap()
                    .ok()
                    .unwrap();
                self.root(Value::Extern(number), reference);
            }
            17 if self.random.one_in(20) => collect(&mut *self.store),
            17 if self.random.one_in(5) => {
                collector::collect(&mut *self.store, Scope::Young);
            }
            _ => {
                while self.roots.len() > 30 || (!self.roots.is_empty() && self.random.one_in(3)) {
                    let i = self.random.below(self.roots.len());
                    self.roots.swap_remove(i);
                    self.store.roots.swap_remove(i);
                }
            }
        }
    }

    /// Compares all that is in use with the model, and returns how many values of the host that are.
    fn check(&self) -> usize {
        let gc = self.store.core.gc();
        let mut pairs: Vec<(Value, u32)> = self
            .roots
            .clone()
            .into_iter()
            .zip(self.store.roots.iter().map(|root| root.get()))
            .collect();
        for ((owner, index), value) in &self.globals {
            let place = self.store.core.instance(*owner).defined_global(*index).from;
            // SAFETY: the global is alive.
            let found = unsafe { place.read() }.value(WasmValType::Ref(ANYREF));
            pairs.push((*value, found.get_anyref()));
        }
        let ((owner, table), values) = &self.table;
        for (i, value) in values.iter().enumerate() {
            let table = self.store.core.instance(*owner).table(*table);
            let TableElement::GcRef(found) = table.get(i as u64).unwrap().unwrap() else {
                panic!("a table of references")
            };
            pairs.push((*value, found.map_or(0, VMGcRef::get)));
        }
        let mut by_value = HashMap::new();
        let mut by_reference = HashMap::new();
        while let Some((value, reference)) = pairs.pop() {
            match value {
                Value::Null => assert_eq!(reference, 0),
                Value::I31(number) => assert_eq!(reference, number << 1 | GC_REF_I31_BIT),
                Value::Object(_) | Value::Extern(_) => {
                    let other = by_value.insert(value, reference);
                    assert_eq!(other.unwrap_or(reference), reference, "{value:?}");
                    let other_value = by_reference.insert(reference, value);
                    assert_eq!(other_value.unwrap_or(value), value, "{reference:#x}");
                    if other.is_some() {
                        continue;
                    }
                    let reference = VMGcRef::new(reference).expect("not null");
                    match value {
                        Value::Object(node) => self.check_object(gc, node, reference, &mut pairs),
                        Value::Extern(number) => {
                            let data = gc.extern_data(reference).expect("a value of the host");
                            assert_eq!(data.downcast_ref::<Counted>().unwrap().0, number);
                        }
                        _ => {}
                    }
                }
            }
        }
        let is_extern = |value: &&Value| matches!(value, Value::Extern(_));
        by_value.keys().filter(is_extern).count()
    }

    fn check_object(
        &self,
        gc: &GcStore,
        node: usize,
        object: VMGcRef,
        pairs: &mut Vec<(Value, u32)>,
    ) {
        let Node {
            kind,
            references,
            len,
        } = &self.nodes[node];
        match kind {
            Kind::Struct => {
                assert_eq!(gc.kind(object), GcKind::Struct);
                assert_eq!(gc.type_index(object), self.structs.index());
                assert_eq!(gc.field(object, 1).get_u64(), node as u64);
            }
            Kind::References => {
                assert_eq!(gc.kind(object), GcKind::Array);
                assert_eq!(gc.array_len(object), *len);
            }
            Kind::Bytes => {
                assert_eq!(gc.type_index(object), self.bytes.index());
                assert_eq!(gc.array_len(object), *len);
                for i in 0..*len {
                    let byte = gc.element(object, i).get_u32();
                    assert_eq!(byte, (node as u32 + i) & 0xff);
                }
            }
            Kind::Exn => {
                assert_eq!(gc.kind(object), GcKind::Exn);
                assert_eq!(gc.exn_tag(object), self.tag);
                assert_eq!(gc.field(object, 0).get_u32(), node as u32);
            }
        }
        for (i, value) in references.iter().enumerate() {
            pairs.push((*value, World::read(gc, *kind, object, i)));
        }
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Relaxed)
    }
}

fn run(collector: GcCollector, stress: bool, seed: u64, steps: usize) {
    let mut world = World::new(collector, stress, seed);
    for step in 0..steps {
        world.step();
        if step % 512 == 0 {
            world.check();
        }
    }
    let in_use = world.check();
    collect(&mut *world.store);
    assert_eq!(world.check(), in_use);
    match collector {
        GcCollector::Null => assert_eq!(world.dropped(), 0),
        _ => assert_eq!(world.externs - world.dropped(), in_use, "{collector:?}"),
    }
    let dropped = Arc::clone(&world.dropped);
    let externs = world.externs;
    drop(world);
    assert_eq!(dropped.load(Relaxed), externs);
}

#[test]
fn objects_are_as_in_the_model() {
    for collector in COLLECTORS {
        for seed in 0..4 {
            run(collector, false, seed, 60_000);
        }
    }
}

#[test]
fn objects_are_as_in_the_model_under_stress() {
    for collector in COLLECTORS {
        for seed in 0..6 {
            run(collector, true, seed, 1500);
        }
    }
}
