//! [`RootSet`]: the references of a store that the host holds, and [`GcRootIndex`], how it holds
//! them.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use waxwing_vm::{StoreId, VMGcRef};

use crate::store::StoreOpaque;

/// The place of a root: in which store, and where there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GcRootIndex {
    store: StoreId,
    /// Told apart from a root that had the same place before.
    generation: u64,
    place: Place,
}

/// A place in the stack of scoped roots or, with the highest bit set, in the slab of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place(u32);

const SLAB: u32 = 1 << 31;

impl Place {
    fn scoped(index: usize) -> Place {
        Place(Place::number(index))
    }

    fn slab(index: usize) -> Place {
        Place(Place::number(index) | SLAB)
    }

    fn number(index: usize) -> u32 {
        u32::try_from(index)
            .ok()
            .filter(|index| index & SLAB == 0)
            .expect("a store holds fewer than 2^31 roots")
    }

    fn is_scoped(self) -> bool {
        self.0 & SLAB == 0
    }

    fn index(self) -> usize {
        (self.0 & !SLAB) as usize
    }
}

impl GcRootIndex {
    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    #[inline]
    pub(crate) fn comes_from(&self, store: &StoreOpaque) -> bool {
        self.store == store.id()
    }

    /// The reference that the root holds. It is good until garbage is collected, which may move
    /// what it refers to: whatever allocates is done before.
    ///
    /// # Errors
    ///
    /// Fails if the root's scope has been left or the root has been given up.
    ///
    /// # Panics
    ///
    /// Panics if the root belongs to another store.
    #[inline]
    pub(crate) fn get(&self, store: &StoreOpaque) -> Result<VMGcRef> {
        store.assert_owns(self.store);
        match store.roots().find(*self) {
            Some(gc_ref) => Ok(gc_ref),
            None => Err(unrooted()),
        }
    }
}

#[cold]
fn unrooted() -> anyhow::Error {
    anyhow!("attempted to use a garbage-collected reference that has been unrooted")
}

#[derive(Clone, Copy)]
struct Root {
    generation: u64,
    gc_ref: VMGcRef,
}

enum Slot {
    Used(Root),
    Free { next: Option<usize> },
}

/// An owned root: it lasts while anybody but the set itself has the token.
struct Owned {
    token: Arc<()>,
    root: GcRootIndex,
}

/// The least number of owned roots at which the set looks for dead ones.
const MIN_TRIM_THRESHOLD: usize = 64;

/// All roots of a store.
///
/// Collectors see every reference in it, and change those that refer to objects which move.
#[derive(Default)]
pub(crate) struct RootSet {
    /// Scoped roots, those of inner scopes last.
    scoped: Vec<Root>,
    /// Changes whenever a scope with roots is left.
    scope_generation: u64,
    slab: Vec<Slot>,
    first_free: Option<usize>,
    /// Changes whenever a slot is used.
    slab_generation: u64,
    owned: Vec<Owned>,
    trim_threshold: usize,
}

impl RootSet {
    /// What [`leave_scope`](Self::leave_scope) needs to forget all roots made from here on.
    #[inline]
    pub(crate) fn enter_scope(&self) -> usize {
        self.scoped.len()
    }

    #[inline]
    pub(crate) fn leave_scope(&mut self, scope: usize) {
        if self.scoped.len() > scope {
            self.forget_scoped(scope);
        }
    }

    #[cold]
    fn forget_scoped(&mut self, scope: usize) {
        self.scoped.truncate(scope);
        self.scope_generation += 1;
    }

    pub(super) fn reserve(&mut self, additional: usize) {
        self.scoped.reserve(additional);
    }

    #[inline]
    fn find(&self, root: GcRootIndex) -> Option<VMGcRef> {
        let index = root.place.index();
        let found = if root.place.is_scoped() {
            self.scoped.get(index)?
        } else {
            match self.slab.get(index)? {
                Slot::Used(root) => root,
                Slot::Free { .. } => return None,
            }
        };
        (found.generation == root.generation).then_some(found.gc_ref)
    }

    #[inline]
    pub(super) fn add_scoped(&mut self, store: StoreId, gc_ref: VMGcRef) -> GcRootIndex {
        let place = Place::scoped(self.scoped.len());
        let generation = self.scope_generation;
        self.scoped.push(Root { generation, gc_ref });
        GcRootIndex {
            store,
            generation,
            place,
        }
    }

    pub(super) fn add_manual(&mut self, store: StoreId, gc_ref: VMGcRef) -> GcRootIndex {
        self.slab_generation += 1;
        let generation = self.slab_generation;
        let root = Slot::Used(Root { generation, gc_ref });
        let index = match self.first_free {
            Some(index) => {
                let slot = &mut self.slab[index];
                if let Slot::Free { next } = *slot {
                    self.first_free = next;
                }
                *slot = root;
                index
            }
            None => {
                self.slab.push(root);
                self.slab.len() - 1
            }
        };
        GcRootIndex {
            store,
            generation,
            place: Place::slab(index),
        }
    }

    pub(super) fn remove_manual(&mut self, root: GcRootIndex) {
        let index = root.place.index();
        if !root.place.is_scoped()
            && let Some(slot) = self.slab.get_mut(index)
            && matches!(slot, Slot::Used(used) if used.generation == root.generation)
        {
            *slot = Slot::Free {
                next: self.first_free,
            };
            self.first_free = Some(index);
        }
    }

    /// A root that lasts while the token does that comes with it.
    pub(super) fn add_owned(&mut self, store: StoreId, gc_ref: VMGcRef) -> (GcRootIndex, Arc<()>) {
        // Looking at all of them each time that their number has doubled costs little for each.
        if self.owned.len() >= self.trim_threshold {
            self.trim();
            self.trim_threshold = MIN_TRIM_THRESHOLD.max(2 * self.owned.len());
        }
        let root = self.add_manual(store, gc_ref);
        let token = Arc::new(());
        self.owned.push(Owned {
            token: Arc::clone(&token),
            root,
        });
        (root, token)
    }

    /// Removes owned roots whose owners are gone.
    pub(crate) fn trim(&mut self) {
        let mut owned = std::mem::take(&mut self.owned);
        owned.retain(|owned| {
            // Only owners make further ones, so that a count of one stays so.
            let is_alive = Arc::strong_count(&owned.token) > 1;
            if !is_alive {
                self.remove_manual(owned.root);
            }
            is_alive
        });
        self.owned = owned;
    }

    /// Shows all references to a collector, for it to keep alive and to update.
    pub(crate) fn trace(&mut self, visit: &mut dyn FnMut(&mut VMGcRef)) {
        for root in &mut self.scoped {
            visit(&mut root.gc_ref);
        }
        for slot in &mut self.slab {
            if let Slot::Used(root) = slot {
                visit(&mut root.gc_ref);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn owned_roots_are_trimmed() {
        let store = Store::<()>::default();
        let id = crate::AsContext::as_context(&store).0.id();
        let gc_ref = VMGcRef::MIN;
        let mut roots = RootSet::default();
        let kept = roots.add_owned(id, gc_ref);
        for _ in 0..10_000 {
            roots.add_owned(id, gc_ref);
        }
        assert!(roots.slab.len() < 200, "{}", roots.slab.len());
        let mut seen = 0;
        roots.trim();
        roots.trace(&mut |_| seen += 1);
        assert_eq!((seen, roots.find(kept.0)), (1, Some(gc_ref)));
        drop(kept.1);
        roots.trim();
        roots.trace(&mut |_| seen += 1);
        assert_eq!((seen, roots.find(kept.0)), (1, None));
    }

    #[test]
    fn places_are_told_apart() {
        assert!(Place::scoped(5).is_scoped() && !Place::slab(5).is_scoped());
        assert_eq!(Place::slab(5).index(), 5);
        assert_ne!(Place::scoped(5), Place::slab(5));
    }

    #[test]
    fn collectors_update_roots() {
        let store = Store::<()>::default();
        let id = crate::AsContext::as_context(&store).0.id();
        let mut roots = RootSet::default();
        let [old, new] = [8, 16].map(|raw| VMGcRef::new(raw).unwrap());
        let scoped = roots.add_scoped(id, old);
        let manual = roots.add_manual(id, old);
        let gone = roots.add_manual(id, old);
        roots.remove_manual(gone);
        roots.trace(&mut |gc_ref| {
            assert_eq!(*gc_ref, old);
            *gc_ref = new;
        });
        assert_eq!(roots.find(scoped), Some(new));
        assert_eq!(roots.find(manual), Some(new));
        assert_eq!(roots.find(gone), None);
    }
}
