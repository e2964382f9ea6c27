//! [`Tag`].

use anyhow::{Result, ensure};
use waxwing_environ::DefinedTagIndex;
use waxwing_vm::{InstanceId, StoreId, VMTagImport};

use super::handle;
use crate::store::StoreOpaque;
use crate::{AsContext, AsContextMut, Engine, FuncType, TagType};

/// An exception tag, of WebAssembly or of the host: what tells one kind of exception from another,
/// and says what it carries.
///
/// Handlers of WebAssembly name the tags whose exceptions they catch. Each tag is an identity of its own:
/// two tags of one type are two kinds of exceptions. See [`ExnRef`](crate::ExnRef) for an
/// example.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Tag {
    store: StoreId,
    instance: InstanceId,
    index: DefinedTagIndex,
}

handle!(Tag, DefinedTagIndex);

impl Tag {
    /// A new tag of the type `ty`.
    ///
    /// # Errors
    ///
    /// Fails if the function type has results, or memory is lacking.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: &TagType) -> Result<Tag> {
        let store = store.as_context_mut().0;
        let func = ty.ty();
        assert!(
            Engine::same(func.engine(), store.engine()),
            "cannot use a `TagType` of another engine for a tag"
        );
        ensure!(
            func.results().len() == 0,
            "cannot make a tag of the type `{func}`: exceptions have no results"
        );
        let registered = func.registered_type();
        let (instance, index) = waxwing_vm::create_host_tag(store, registered)?;
        Ok(Tag::new_handle(store.id(), instance, index))
    }

    /// The type of the tag.
    ///
    /// # Panics
    ///
    /// Panics if the tag belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TagType {
        TagType::new(self.func_type(store.as_context().0))
    }

    /// Whether `a` and `b` are the same tag.
    ///
    /// # Panics
    ///
    /// Panics if one of them belongs to another store.
    pub fn eq(a: &Tag, b: &Tag, store: impl AsContext) -> bool {
        let store = store.as_context().0;
        store.assert_owns(a.store);
        store.assert_owns(b.store);
        a.vm_tag() == b.vm_tag()
    }

    /// What the runtime knows the tag by.
    pub(crate) fn vm_tag(&self) -> (InstanceId, DefinedTagIndex) {
        (self.instance, self.index)
    }

    pub(crate) fn vm_type(&self, store: &StoreOpaque) -> waxwing_environ::Tag {
        let owner = self.owner(store).module();
        owner.tag_type(owner.module().tag_index(self.index))
    }

    pub(crate) fn func_type(&self, store: &StoreOpaque) -> FuncType {
        store.look_up_func_type(self.vm_type(store).signature.unwrap_engine())
    }

    pub(crate) fn vm_import(&self, store: &StoreOpaque) -> VMTagImport {
        self.owner(store).defined_tag(self.index)
    }
}
