//! Memory protection keys: slots that guard each other.
//!
//! Between two linear memories that the same code can reach there have to be guards, gigabytes of address space. With
//! keys, each store has one, its memories come from slots whose pages have that key, and while its code runs the thread
//! has no right to other keys. So slots of other keys lie where its guards would be:
//!
//! ```text
//! | key 1 | key 2 | key 3 | key 1 | key 2 | key 3 | …
//!          ^ guards of the first memory ^
//! ```
//!
//! Code of the host may use all memories. A thread gets the rights to all keys when it asks for the address of a memory, and when it
//! comes back from WebAssembly, also to a function of the host. It loses those to others when it enters WebAssembly.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use super::{PoolOptions, Wanted};
use crate::sys::keys::{self, Key};

/// Whether any pool ever had keys: if not, nobody needs to look at rights.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Whether rights may have to be changed on the way to WebAssembly and back.
#[inline]
pub(crate) fn in_use() -> bool {
    IN_USE.load(Ordering::Relaxed)
}

/// Whether the CPU and the system have keys.
pub(crate) fn are_available() -> bool {
    keys::available()
}

/// Gives the calling thread all rights to the keys that `mask` has.
#[inline]
pub(crate) fn allow(mask: u32) {
    if mask != 0 {
        let denied = keys::denied();
        if denied & mask != 0 {
            // SAFETY: there is a key, as the mask is of some, and no right is lost.
            unsafe { keys::deny(denied & !mask) };
        }
    }
}

/// The rights of code of a store to memories of its pool. None if the pool has no keys: all memories can be used then.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct StoreRights {
    /// All keys of the pool.
    all: u32,
    /// Those that WebAssembly code of the store has no right to.
    denied: u32,
}

impl StoreRights {
    /// Gives the calling thread the rights of the host.
    #[inline]
    pub(crate) fn of_host(self) {
        allow(self.all);
    }

    /// Gives the calling thread the rights of WebAssembly code of the store.
    ///
    /// # Safety
    ///
    /// The thread uses no memory of other stores before it has the rights of the host again.
    #[inline]
    pub(crate) unsafe fn of_wasm(self) {
        if self.all != 0 {
            let denied = keys::denied() & !self.all | self.denied;
            // SAFETY: there is a key; the rest is required of the caller.
            unsafe { keys::deny(denied) };
        }
    }
}

/// The key of a store, once it has a memory of the pool: the number of a key of the pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreKey(Cell<Option<usize>>);

impl StoreKey {
    pub(super) fn get(&self) -> Option<usize> {
        self.0.get()
    }

    pub(super) fn set(&self, number: usize) {
        self.0.set(Some(number));
    }
}

/// The keys of a pool, none if it does without.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// As many keys as are wanted and left, if there is use for at least two.
    pub(super) fn new(options: &PoolOptions) -> Result<Keys> {
        let none = Ok(Keys(Vec::new()));
        let wanted = options.max_memory_protection_keys;
        match options.memory_protection_keys {
            Wanted::No => return none,
            Wanted::Auto if !are_available() || wanted < 2 => return none,
            Wanted::Auto | Wanted::Yes => {}
        }
        let forced = options.memory_protection_keys == Wanted::Yes;
        ensure!(
            are_available(),
            "`PoolingAllocationConfig::memory_protection_keys(MpkEnabled::Enable)`: this CPU or operating system has no memory \
             protection keys; use `MpkEnabled::Auto` to do without where there are none"
        );
        ensure!(
            wanted > 0,
            "`PoolingAllocationConfig::max_memory_protection_keys(0)` leaves no memory protection keys to use: give at least 1, \
             or use `MpkEnabled::Disable`"
        );
        let mut all = Vec::new();
        while all.len() < wanted {
            match Key::new() {
                Ok(key) => all.push(key),
                Err(error) if all.is_empty() && forced => {
                    return Err(error).context(
                        "`PoolingAllocationConfig::memory_protection_keys(MpkEnabled::Enable)`: all memory protection keys of \
                         this process are in use; let engines share them by \
                         `PoolingAllocationConfig::max_memory_protection_keys`",
                    );
                }
                Err(_) => break,
            }
        }
        if all.len() < 2 && !forced {
            return none;
        }
        IN_USE.store(true, Ordering::Relaxed);
        Ok(Keys(all))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Key> {
        self.0.get(number)
    }

    /// The rights to all keys.
    pub(super) fn all(&self) -> u32 {
        self.0.iter().fold(0, |all, key| all | key.rights())
    }

    /// The rights of code of a store that has this key, if it has one.
    pub(super) fn rights(&self, number: Option<usize>) -> StoreRights {
        let own = number.and_then(|number| self.get(number));
        let all = self.all();
        StoreRights {
            all,
            denied: all & !own.map_or(0, Key::rights),
        }
    }
}
