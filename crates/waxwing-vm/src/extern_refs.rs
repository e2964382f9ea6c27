//! [`ExternRefs`]: the host values that WebAssembly holds references to.

use std::any::Any;

use anyhow::{Result, anyhow};

use crate::vmcontext::VMGcRef;

/// Host values by the references that WebAssembly holds to them. A value lives as long as its store.
#[derive(Default)]
pub struct ExternRefs {
    values: Vec<Box<dyn Any + Send + Sync>>,
}

impl ExternRefs {
    /// Keeps `value` and returns the reference to it.
    ///
    /// # Errors
    ///
    /// Fails when there are 2^32 - 1 values already, or memory is lacking.
    pub fn insert(&mut self, value: Box<dyn Any + Send + Sync>) -> Result<VMGcRef> {
        let reference = u32::try_from(self.values.len() + 1)
            .ok()
            .and_then(VMGcRef::new)
            .filter(|_| self.values.try_reserve(1).is_ok())
            .ok_or_else(|| {
                anyhow!(
                    "no room for another external reference beside {}; use fewer, or another store",
                    self.values.len()
                )
            })?;
        self.values.push(value);
        Ok(reference)
    }

    /// The value that `reference` refers to, if it is one of these.
    pub fn get(&self, reference: VMGcRef) -> Option<&(dyn Any + Send + Sync)> {
        Some(&**self.values.get(reference.get() as usize - 1)?)
    }

    /// The value that `reference` refers to, if it is one of these.
    pub fn get_mut(&mut self, reference: VMGcRef) -> Option<&mut (dyn Any + Send + Sync)> {
        Some(&mut **self.values.get_mut(reference.get() as usize - 1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_find_their_values() {
        let mut refs = ExternRefs::default();
        let one = refs.insert(Box::new(1i32)).unwrap();
        let two = refs.insert(Box::new("two")).unwrap();
        assert_ne!(one, two);
        assert_eq!(refs.get(one).unwrap().downcast_ref(), Some(&1i32));
        assert_eq!(refs.get(two).unwrap().downcast_ref(), Some(&"two"));
        *refs.get_mut(one).unwrap().downcast_mut::<i32>().unwrap() = 5;
        assert_eq!(refs.get(one).unwrap().downcast_ref(), Some(&5i32));
        assert!(refs.get(VMGcRef::MAX).is_none());
    }
}
