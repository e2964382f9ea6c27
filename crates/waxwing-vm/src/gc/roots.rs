//! [`Roots`]: the references from which everything in use is found.
//!
//! References in frames of generated code, globals, tables and element segments are changed where they
//! are. Those that the host and the runtime hold are copied, in an order that is the same each time, and copied back
//! after the collection.

use std::ptr::NonNull;
use std::sync::Arc;

use waxwing_environ::call_sites::StackMaps;

use crate::backtrace::visit_frames;
use crate::instance::InstanceId;
use crate::loaded_module::LoadedModule;
use crate::store::{StoreCore, VMStore};
use crate::vmcontext::VMGcRef;

/// Which roots a collection needs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum WhichRoots {
    /// All.
    All,
    /// Those that are not counted: frames of generated code, the host, the runtime.
    Uncounted,
}

/// The references from which everything in use is found.
#[derive(Default)]
pub(super) struct Roots {
    /// Addresses of references and their number.
    ranges: Vec<(NonNull<u32>, usize)>,
    /// References of the host, then of the runtime, then the pending exception.
    pub(super) values: Vec<u32>,
}

// SAFETY: addresses are used during a collection alone.
unsafe impl Send for Roots {}
// SAFETY: as above.
unsafe impl Sync for Roots {}

impl Roots {
    /// Finds the roots of a store. `false` if there are some that cannot be found, as the store waits for
    /// this thread on another one.
    pub(super) fn gather(&mut self, store: &mut dyn VMStore, which: WhichRoots) -> bool {
        self.ranges.clear();
        self.values.clear();
        if !self.gather_frames(store.core()) {
            return false;
        }
        if which == WhichRoots::All {
            let core = store.core_mut();
            for i in 0..core.gc().rooted_instances.len() {
                let id: InstanceId = core.gc().rooted_instances[i];
                let ranges = &mut self.ranges;
                core.instance_mut(id)
                    .visit_gc_roots(&mut |start, len| ranges.push((start, len)));
            }
        }
        let values = &mut self.values;
        store.trace_host_roots(&mut |reference| values.push(reference.get()));
        let gc = store.core().gc();
        self.values.extend_from_slice(&gc.native_roots);
        self.values.extend(gc.pending_exception.map(VMGcRef::get));
        true
    }

    fn gather_frames(&mut self, core: &StoreCore) -> bool {
        let ranges = &mut self.ranges;
        let mut module: Option<&Arc<LoadedModule>> = None;
        let mut maps: Option<StackMaps<'_>> = None;
        let mut text = 0..0;
        // Deep recursion goes through the same calls again and again.
        let mut last_pc = 0;
        let mut last_map = None;
        // SAFETY: the context is the store's own, and the calling thread has exclusive use of it.
        unsafe {
            visit_frames(core.vm_store_context().as_ptr(), None, &mut |frame| {
                if frame.pc != last_pc {
                    if !text.contains(&frame.pc) {
                        module = core.module_of_pc(frame.pc);
                        text = module.map_or(0..0, |module| module.code().text_range());
                        maps = module.and_then(|module| module.code().stack_maps());
                    }
                    let offset = frame.pc.wrapping_sub(text.start) as u32;
                    last_map = maps.and_then(|maps| maps.get(offset));
                    last_pc = frame.pc;
                }
                let Some(map) = last_map else { return };
                let sp = frame.fp - map.frame_size as usize;
                for slot in map.slots() {
                    let slot = (sp + slot as usize) as *mut u32;
                    ranges.extend(NonNull::new(slot).map(|slot| (slot, 1)));
                }
            })
        }
    }

    /// Calls `visit` with the address of each root.
    #[inline]
    pub(super) fn visit(&mut self, mut visit: impl FnMut(NonNull<u32>)) {
        for (start, len) in &self.ranges {
            for i in 0..*len {
                // SAFETY: the range is one of roots.
                visit(unsafe { start.add(i) });
            }
        }
        for value in &mut self.values {
            visit(NonNull::from(value));
        }
    }

    /// How many roots there are.
    pub(super) fn len(&self) -> usize {
        let lens = self.ranges.iter().map(|(_, len)| len);
        lens.sum::<usize>() + self.values.len()
    }

    /// Copies references of the host and the runtime back.
    pub(super) fn write_back(&mut self, store: &mut dyn VMStore) {
        let mut values = self.values.drain(..);
        let mut next = || values.next().and_then(VMGcRef::new);
        store.trace_host_roots(&mut |reference| {
            if let Some(moved) = next() {
                *reference = moved;
            }
        });
        let gc = store.core_mut().gc_mut();
        for root in &mut gc.native_roots {
            *root = values.next().unwrap_or(0);
        }
        if gc.pending_exception.is_some() {
            gc.pending_exception = values.next().and_then(VMGcRef::new);
        }
    }
}
