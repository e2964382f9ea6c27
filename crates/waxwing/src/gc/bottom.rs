//! The bottoms of the reference hierarchies: types whose only value is null.

use std::convert::Infallible;

use crate::{Ref, Val};

macro_rules! bottom_types {
    ($($(#[$doc:meta])* $name:ident, $ref:ident, $val:ident, $wasm:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// It has no values: only `Option` of it does, and only `None`. It serves to give functions
        /// a static type by [`Func::typed`](crate::Func::typed).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            pub(crate) never: Infallible,
        }

        impl $name {
            #[doc = concat!("The null reference, the only value of `", $wasm, "`.")]
            #[inline]
            pub fn null() -> Option<$name> {
                None
            }

            /// The null reference as a [`Ref`].
            #[inline]
            pub fn null_ref() -> Ref {
                Ref::$ref(None)
            }

            /// The null reference as a [`Val`].
            #[inline]
            pub fn null_val() -> Val {
                Val::$val(None)
            }
        }
    )*};
}

bottom_types! {
    /// A non-null reference of the type `nofunc`, the bottom of the function references.
    NoFunc, Func, FuncRef, "nullfuncref";
    /// A non-null reference of the type `noextern`, the bottom of the external references.
    NoExtern, Extern, ExternRef, "nullexternref";
    /// A non-null reference of the type `none`, the bottom of the internal references.
    NoneRef, Any, AnyRef, "nullref";
}
