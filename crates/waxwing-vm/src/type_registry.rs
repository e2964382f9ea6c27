//! [`TypeRegistry`]: the types of all modules of an engine, each once.
//!
//! Types are equal if their recursion groups are, structurally, and they are at the same place there.
//! A group is registered under its canonical form: references to types of the same group by position,
//! references to other types by their index in the registry, which is the same for equal types. So
//! equality of groups is equality of canonical forms, and equality of types equality of indices.
//!
//! Groups are counted: by the modules and handles that use them, and by the groups that refer to them.
//! The indices of a group that nobody uses are free for others.
//!
//! Counting up needs a count that is not zero, or the lock; a count that falls to zero is looked at
//! again under the exclusive lock, before the group is removed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::{Result, ensure};
use waxwing_environ::{
    EngineTypeIndex, EntityRef, ModuleTypeIndex, ModuleTypes, TypeRef, WasmHeapType, WasmSubType,
};

/// A recursion group in canonical form.
type CanonicalGroup = Box<[WasmSubType]>;

/// A registered recursion group.
struct Group {
    canonical: CanonicalGroup,
    /// The indices of its types.
    indices: Box<[EngineTypeIndex]>,
    /// The types, with references by index in the registry.
    types: Box<[Arc<WasmSubType>]>,
    /// A type of each other group that this one refers to, and is a user of.
    uses: Vec<EngineTypeIndex>,
    users: AtomicUsize,
    removed: AtomicBool,
}

impl Group {
    /// Counts another user. Needs the registry's lock, or that there is a user already.
    fn add_user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }
}

struct Slot {
    group: Arc<Group>,
    position: usize,
}

#[derive(Default)]
struct Inner {
    slots: Vec<Option<Slot>>,
    free: Vec<EngineTypeIndex>,
    groups: HashMap<CanonicalGroup, Arc<Group>>,
}

impl Inner {
    fn slot(&self, index: EngineTypeIndex) -> Option<&Slot> {
        self.slots.get(index.index())?.as_ref()
    }

    fn supertype(&self, index: EngineTypeIndex) -> Option<EngineTypeIndex> {
        let slot = self.slot(index)?;
        let supertype = slot.group.types[slot.position].supertype?;
        Some(supertype.unwrap_engine())
    }

    /// The group of this canonical form, with another user counted.
    fn find(&self, canonical: &[WasmSubType]) -> Option<Arc<Group>> {
        let group = self.groups.get(canonical)?;
        group.add_user();
        Some(Arc::clone(group))
    }

    fn allocate(&mut self) -> EngineTypeIndex {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            EngineTypeIndex::new(self.slots.len() - 1)
        })
    }

    /// As [`Self::find`], but registers the group if it is new. Its references to other types are to
    /// registered ones, that stay so during the call.
    fn find_or_insert(&mut self, canonical: CanonicalGroup) -> Arc<Group> {
        if let Some(group) = self.find(&canonical) {
            return group;
        }
        let indices: Box<[_]> = canonical.iter().map(|_| self.allocate()).collect();
        let mut uses: Vec<EngineTypeIndex> = Vec::new();
        let mut used: HashSet<*const Group> = HashSet::new();
        let types = canonical
            .iter()
            .map(|ty| {
                let ty = ty.map_type_refs(&mut |reference| match reference {
                    TypeRef::RecGroup(position) => TypeRef::Engine(indices[position as usize]),
                    TypeRef::Engine(index) => {
                        let slot = self.slot(index).expect("registered types refer to such");
                        if used.insert(Arc::as_ptr(&slot.group)) {
                            slot.group.add_user();
                            uses.push(index);
                        }
                        reference
                    }
                    TypeRef::Module(index) => unreachable!("{index} in a canonical group"),
                });
                Arc::new(ty)
            })
            .collect();
        let group = Arc::new(Group {
            canonical: canonical.clone(),
            indices,
            types,
            uses,
            users: AtomicUsize::new(1),
            removed: AtomicBool::new(false),
        });
        for (position, index) in group.indices.iter().enumerate() {
            self.slots[index.index()] = Some(Slot {
                group: Arc::clone(&group),
                position,
            });
        }
        self.groups.insert(canonical, Arc::clone(&group));
        group
    }

    /// Removes groups that have no users, and those that thereby lose theirs.
    fn remove_unused(&mut self, groups: Vec<Arc<Group>>) {
        let mut candidates = groups;
        while let Some(group) = candidates.pop() {
            if group.users.load(Ordering::Acquire) != 0
                || group.removed.swap(true, Ordering::Relaxed)
            {
                continue;
            }
            self.groups.remove(&group.canonical);
            for index in &group.indices {
                self.slots[index.index()] = None;
                self.free.push(*index);
            }
            let used = group.uses.iter().filter_map(|index| self.slot(*index));
            let unused = used.filter(|slot| release(&slot.group));
            let unused: Vec<_> = unused.map(|slot| Arc::clone(&slot.group)).collect();
            candidates.extend(unused);
        }
    }
}

/// Counts a user down. Whether it was the last one.
fn release(group: &Group) -> bool {
    group.users.fetch_sub(1, Ordering::AcqRel) == 1
}

/// The types of all modules of an engine, and those that its embedder made, each once.
///
/// All methods may be called by any threads at the same time.
#[derive(Default)]
pub struct TypeRegistry {
    inner: RwLock<Inner>,
}

impl fmt::Debug for TypeRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeRegistry")
            .field("len", &self.len())
            .finish()
    }
}

impl TypeRegistry {
    /// A registry of no types.
    pub fn new() -> TypeRegistry {
        TypeRegistry::default()
    }

    // No code that runs under the lock can panic half-way through a change, so that poison means nothing.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of registered types.
    pub fn len(&self) -> usize {
        let inner = self.read();
        inner.slots.len() - inner.free.len()
    }

    /// Whether no type is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn release(&self, groups: impl IntoIterator<Item = Arc<Group>>) {
        let unused: Vec<_> = groups.into_iter().filter(|group| release(group)).collect();
        if !unused.is_empty() {
            self.write().remove_unused(unused);
        }
    }

    /// Registers all types of a module.
    ///
    /// # Errors
    ///
    /// Fails if the groups do not cover the types in order, or a type refers to one of a later group:
    /// no compiler makes such types.
    pub fn register_module_types(
        self: &Arc<Self>,
        types: &ModuleTypes,
    ) -> Result<RegisteredModuleTypes> {
        check(types)?;
        let mut registered = RegisteredModuleTypes {
            registry: Arc::clone(self),
            indices: Vec::with_capacity(types.types.len()),
            groups: Vec::with_capacity(types.rec_groups.len()),
        };
        let mut rest = types.rec_groups.as_slice();
        // Mostly other modules have the same types. Only from the first new group on others are kept out.
        {
            let inner = self.read();
            while let [group, others @ ..] = rest {
                let canonical = canonicalize(types, group, &registered.indices);
                let Some(found) = inner.find(&canonical) else {
                    break;
                };
                registered.push(found);
                rest = others;
            }
        }
        if !rest.is_empty() {
            let mut inner = self.write();
            for group in rest {
                let canonical = canonicalize(types, group, &registered.indices);
                registered.push(inner.find_or_insert(canonical));
            }
        }
        Ok(registered)
    }

    /// Registers a type in a group of its own. References to other types are
    /// [`TypeRef::Engine`], to itself `TypeRef::RecGroup(0)`.
    ///
    /// # Panics
    ///
    /// Panics if it refers to a type that is not registered, or by another kind of reference. The
    /// caller keeps the types registered that it refers to.
    pub fn register(self: &Arc<Self>, ty: WasmSubType) -> RegisteredType {
        let canonical: CanonicalGroup = Box::new([ty]);
        // A statement of its own, so that the lock is released before the other one is taken.
        let found = self.read().find(&canonical);
        let group = found.unwrap_or_else(|| self.register_new(canonical));
        RegisteredType {
            registry: Arc::clone(self),
            group,
            position: 0,
        }
    }

    #[cold]
    fn register_new(&self, canonical: CanonicalGroup) -> Arc<Group> {
        let mut inner = self.write();
        let mut known = true;
        canonical[0].map_type_refs(&mut |reference| {
            known &= match reference {
                TypeRef::Engine(index) => inner.slot(index).is_some(),
                TypeRef::RecGroup(position) => position == 0,
                TypeRef::Module(_) => false,
            };
            reference
        });
        assert!(
            known,
            "a type was registered that refers to one that is not"
        );
        inner.find_or_insert(canonical)
    }

    /// The type with this index, if there is one.
    pub fn lookup(self: &Arc<Self>, index: EngineTypeIndex) -> Option<RegisteredType> {
        let inner = self.read();
        let slot = inner.slot(index)?;
        slot.group.add_user();
        Some(RegisteredType {
            registry: Arc::clone(self),
            group: Arc::clone(&slot.group),
            position: slot.position,
        })
    }

    /// The declared supertypes of a type, the closest first.
    pub fn supertypes(&self, ty: EngineTypeIndex) -> Vec<EngineTypeIndex> {
        let inner = self.read();
        std::iter::successors(inner.supertype(ty), |ty| inner.supertype(*ty)).collect()
    }

    /// Whether `sub` is `sup` or declared as a subtype of it, perhaps through others.
    pub fn is_subtype(&self, sub: EngineTypeIndex, sup: EngineTypeIndex) -> bool {
        if sub == sup {
            return true;
        }
        let inner = self.read();
        std::iter::successors(inner.supertype(sub), |ty| inner.supertype(*ty)).any(|ty| ty == sup)
    }
}

/// Checks what [`canonicalize`] relies on.
fn check(types: &ModuleTypes) -> Result<()> {
    let mut next = 0;
    for group in &types.rec_groups {
        let (start, end) = (group.start.index(), group.end.index());
        ensure!(
            start == next && start <= end && end <= types.types.len(),
            "the module's groups of types are damaged; compile the module again"
        );
        next = end;
        for i in start..end {
            let mut known = true;
            types.types[ModuleTypeIndex::new(i)].map_type_refs(&mut |reference| {
                known &= matches!(reference, TypeRef::Module(index) if index.index() < end);
                reference
            });
            ensure!(
                known,
                "type {i} of the module refers to one that is not before it; compile the module again"
            );
        }
    }
    ensure!(
        next == types.types.len(),
        "the module has types in no group; compile the module again"
    );
    Ok(())
}

/// The canonical form of a group of a module, the types of all earlier groups of which have `indices`.
fn canonicalize(
    types: &ModuleTypes,
    group: &std::ops::Range<ModuleTypeIndex>,
    indices: &[EngineTypeIndex],
) -> CanonicalGroup {
    let start = group.start.index();
    (start..group.end.index())
        .map(|i| {
            types.types[ModuleTypeIndex::new(i)].map_type_refs(&mut |reference| {
                let index = reference.unwrap_module().index();
                match index.checked_sub(start) {
                    Some(position) => TypeRef::RecGroup(position as u32),
                    None => TypeRef::Engine(indices[index]),
                }
            })
        })
        .collect()
}

/// The types of a module in its engine's numbering. Keeps them registered.
pub struct RegisteredModuleTypes {
    registry: Arc<TypeRegistry>,
    indices: Vec<EngineTypeIndex>,
    groups: Vec<Arc<Group>>,
}

impl RegisteredModuleTypes {
    fn push(&mut self, group: Arc<Group>) {
        self.indices.extend_from_slice(&group.indices);
        self.groups.push(group);
    }

    /// The engine's index of each type, by [`ModuleTypeIndex`].
    pub fn as_slice(&self) -> &[EngineTypeIndex] {
        &self.indices
    }

    /// The engine's index of a type.
    ///
    /// # Panics
    ///
    /// Panics if the module has no such type.
    pub fn index(&self, ty: ModuleTypeIndex) -> EngineTypeIndex {
        self.indices[ty.index()]
    }

    /// `reference` with a type of the module replaced by the engine's.
    ///
    /// # Panics
    ///
    /// Panics if the module has no such type.
    pub fn type_ref(&self, reference: TypeRef) -> TypeRef {
        match reference {
            TypeRef::Module(index) => TypeRef::Engine(self.index(index)),
            other => other,
        }
    }

    /// `heap_type` with a type of the module replaced by the engine's.
    ///
    /// # Panics
    ///
    /// Panics if the module has no such type.
    pub fn heap_type(&self, heap_type: WasmHeapType) -> WasmHeapType {
        heap_type.map_type_ref(&mut |reference| self.type_ref(reference))
    }
}

impl fmt::Debug for RegisteredModuleTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.indices).finish()
    }
}

impl Drop for RegisteredModuleTypes {
    fn drop(&mut self) {
        self.registry.release(std::mem::take(&mut self.groups));
    }
}

/// A registered type. Keeps it registered; clones are cheap.
pub struct RegisteredType {
    registry: Arc<TypeRegistry>,
    group: Arc<Group>,
    position: usize,
}

impl RegisteredType {
    /// The type's index.
    #[inline]
    pub fn index(&self) -> EngineTypeIndex {
        self.group.indices[self.position]
    }

    /// The type, its references to other types being [`TypeRef::Engine`].
    #[inline]
    pub fn ty(&self) -> &Arc<WasmSubType> {
        &self.group.types[self.position]
    }

    /// Where it is registered.
    pub fn registry(&self) -> &Arc<TypeRegistry> {
        &self.registry
    }
}

impl Clone for RegisteredType {
    fn clone(&self) -> Self {
        // `self` is a user.
        self.group.add_user();
        RegisteredType {
            registry: Arc::clone(&self.registry),
            group: Arc::clone(&self.group),
            position: self.position,
        }
    }
}

impl Drop for RegisteredType {
    fn drop(&mut self) {
        if release(&self.group) {
            let group = Arc::clone(&self.group);
            self.registry.write().remove_unused(vec![group]);
        }
    }
}

impl fmt::Debug for RegisteredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredType")
            .field("index", &self.index())
            .field("ty", self.ty())
            .finish()
    }
}

impl PartialEq for RegisteredType {
    fn eq(&self, other: &Self) -> bool {
        self.index() == other.index() && Arc::ptr_eq(&self.registry, &other.registry)
    }
}

impl Eq for RegisteredType {}

impl std::hash::Hash for RegisteredType {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.index().hash(state);
        Arc::as_ptr(&self.registry).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_environ::{
        WasmCompositeType, WasmFieldType, WasmFuncType, WasmRefType, WasmStorageType, WasmValType,
    };

    fn func(params: &[WasmValType], results: &[WasmValType]) -> WasmSubType {
        WasmSubType::func(WasmFuncType::new(params, results))
    }

    fn reference(heap_type: WasmHeapType) -> WasmValType {
        WasmValType::Ref(WasmRefType {
            nullable: true,
            heap_type,
        })
    }

    fn module_ref(index: usize) -> TypeRef {
        TypeRef::Module(ModuleTypeIndex::new(index))
    }

    fn func_ref(index: usize) -> WasmValType {
        reference(WasmHeapType::ConcreteFunc(module_ref(index)))
    }

    /// A module's types from its groups.
    fn module(groups: &[&[WasmSubType]]) -> ModuleTypes {
        let mut types = ModuleTypes::default();
        for group in groups {
            let start = types.types.next_key();
            for ty in *group {
                types.types.push(ty.clone());
            }
            types.rec_groups.push(start..types.types.next_key());
        }
        types
    }

    #[test]
    fn equal_types_of_modules_have_one_index() {
        use WasmValType::{I32, I64};
        let registry = Arc::new(TypeRegistry::new());
        let a = module(&[&[func(&[I32], &[])], &[func(&[I64], &[I32])]]);
        let b = module(&[
            &[func(&[I64], &[I32])],
            &[func(&[I32], &[])],
            &[func(&[], &[])],
        ]);
        let a = registry.register_module_types(&a).unwrap();
        let b = registry.register_module_types(&b).unwrap();
        assert_eq!(a.as_slice()[0], b.as_slice()[1]);
        assert_eq!(a.as_slice()[1], b.as_slice()[0]);
        assert_eq!(registry.len(), 3);
        let handle = registry.register(func(&[I32], &[]));
        assert_eq!(handle.index(), a.as_slice()[0]);
        drop(a);
        assert_eq!(registry.len(), 3);
        drop(b);
        assert_eq!(registry.len(), 1);
        assert_eq!(registry.lookup(handle.index()).as_ref(), Some(&handle));
        drop(handle);
        assert!(registry.is_empty());
    }

    #[test]
    fn indices_are_reused_only_when_free() {
        let registry = Arc::new(TypeRegistry::new());
        let one = registry.register(func(&[WasmValType::I32], &[]));
        let index = one.index();
        let clone = one.clone();
        drop(one);
        let two = registry.register(func(&[WasmValType::I64], &[]));
        assert_ne!(two.index(), index);
        drop(clone);
        assert!(registry.lookup(index).is_none());
        let three = registry.register(func(&[WasmValType::F32], &[]));
        assert_eq!(three.index(), index);
    }

    #[test]
    fn groups_are_compared_by_structure() {
        let registry = Arc::new(TypeRegistry::new());
        // Two mutually recursive functions, at different places of two modules.
        let pair = |first: usize| {
            [
                func(&[func_ref(first + 1)], &[]),
                func(&[func_ref(first)], &[]),
            ]
        };
        let other = func(&[], &[WasmValType::F64]);
        let a = registry
            .register_module_types(&module(&[&pair(0)]))
            .unwrap();
        let b = registry
            .register_module_types(&module(&[std::slice::from_ref(&other), &pair(1)]))
            .unwrap();
        assert_eq!(a.as_slice(), &b.as_slice()[1..]);
        assert_eq!(registry.len(), 3);
        // The same types in groups of one each are different types.
        let alone = module(&[&[func(&[func_ref(0)], &[])]]);
        let alone = registry.register_module_types(&alone).unwrap();
        assert!(!a.as_slice().contains(&alone.as_slice()[0]));
        // A type by itself that refers to itself is the same however it is registered.
        let own = reference(WasmHeapType::ConcreteFunc(TypeRef::RecGroup(0)));
        let handle = registry.register(func(&[own], &[]));
        assert_eq!(handle.index(), alone.as_slice()[0]);
        // Types are told with the registry's indices.
        let expected = reference(WasmHeapType::ConcreteFunc(TypeRef::Engine(handle.index())));
        assert_eq!(handle.ty().as_func().unwrap().params(), [expected]);
    }

    #[test]
    fn groups_keep_those_that_they_refer_to() {
        let registry = Arc::new(TypeRegistry::new());
        let types = module(&[&[func(&[], &[])], &[func(&[func_ref(0)], &[])]]);
        let types = registry.register_module_types(&types).unwrap();
        let (inner, outer) = (types.as_slice()[0], types.as_slice()[1]);
        let outer = registry.lookup(outer).unwrap();
        drop(types);
        assert_eq!(registry.len(), 2);
        assert_eq!(
            *registry.lookup(inner).unwrap().ty().as_ref(),
            func(&[], &[])
        );
        drop(outer);
        assert!(registry.is_empty());
    }

    #[test]
    fn long_chains_of_groups_are_freed() {
        let registry = Arc::new(TypeRegistry::new());
        let groups: Vec<_> = (0..50_000usize)
            .map(|i| match i.checked_sub(1) {
                Some(previous) => func(&[func_ref(previous)], &[]),
                None => func(&[], &[]),
            })
            .collect();
        let groups: Vec<_> = groups.chunks(1).collect();
        let types = registry.register_module_types(&module(&groups)).unwrap();
        let last = registry.lookup(*types.as_slice().last().unwrap()).unwrap();
        drop(types);
        assert_eq!(registry.len(), 50_000);
        drop(last);
        assert!(registry.is_empty());
    }

    #[test]
    fn subtypes_are_those_declared() {
        let registry = Arc::new(TypeRegistry::new());
        let structure = |supertype: Option<usize>, fields: usize| WasmSubType {
            is_final: false,
            supertype: supertype.map(module_ref),
            composite: WasmCompositeType::Struct(
                vec![
                    WasmFieldType {
                        element_type: WasmStorageType::I8,
                        mutable: false,
                    };
                    fields
                ]
                .into(),
            ),
        };
        let types = module(&[
            &[structure(None, 0)],
            &[structure(Some(0), 1), structure(Some(1), 2)],
            &[structure(None, 2)],
        ]);
        let types = registry.register_module_types(&types).unwrap();
        let [top, middle, bottom, other] = types.as_slice() else {
            panic!("four types")
        };
        assert!(registry.is_subtype(*bottom, *top));
        assert!(registry.is_subtype(*bottom, *middle));
        assert!(registry.is_subtype(*top, *top));
        assert!(!registry.is_subtype(*top, *bottom));
        assert!(!registry.is_subtype(*other, *top));
    }

    #[test]
    fn damaged_types_are_refused() {
        let registry = Arc::new(TypeRegistry::new());
        let forward = module(&[&[func(&[func_ref(1)], &[])], &[func(&[], &[])]]);
        assert!(registry.register_module_types(&forward).is_err());
        let mut uncovered = module(&[&[func(&[], &[])]]);
        uncovered.types.push(func(&[], &[]));
        assert!(registry.register_module_types(&uncovered).is_err());
        let mut beyond = module(&[&[func(&[], &[])]]);
        beyond.rec_groups[0].end = ModuleTypeIndex::new(2);
        assert!(registry.register_module_types(&beyond).is_err());
        assert!(registry.is_empty());
    }

    #[test]
    fn threads_agree() {
        let registry = Arc::new(TypeRegistry::new());
        std::thread::scope(|scope| {
            for seed in 0..8u32 {
                let registry = &registry;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for i in 0..2000u32 {
                        let arity = (i * 7 + seed) as usize % 16;
                        let ty = func(&vec![WasmValType::I32; arity], &[]);
                        let handle = registry.register(ty.clone());
                        assert_eq!(**handle.ty(), ty);
                        let again = registry.lookup(handle.index()).unwrap();
                        assert_eq!(again, handle);
                        held.push(handle);
                        if i % 3 == 0 {
                            held.clear();
                        }
                    }
                    for handle in &held {
                        let same = registry.register((**handle.ty()).clone());
                        assert_eq!(same.index(), handle.index());
                    }
                });
            }
        });
        assert!(registry.is_empty());
    }
}
