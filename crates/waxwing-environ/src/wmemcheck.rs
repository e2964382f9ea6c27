//! The functions of programs whose meaning is known to checks of memory errors.

use crate::{WasmFuncType, WasmValType};

/// What Zig's C library, in which functions are named as in Zig, puts before the names that these have in C.
const ZIG: [&str; 2] = ["c.malloc.", "c.string."];

/// Defines the functions: names, parameters and whether there is a result. `p` is of the memory's index type, `i` an `i32`.
macro_rules! known_functions {
    ($($(#[$doc:meta])* $variant:ident: $($name:literal)+, [$($param:ident)*] -> [$($result:ident)?];)*) => {
        /// A function that allocates memory for the program, or works on ranges of it.
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum KnownFunction {
            $($(#[$doc])* $variant,)*
        }

        impl KnownFunction {
            const ALL: &'static [KnownFunction] = &[$(KnownFunction::$variant,)*];

            /// The function of this name and type, in a program whose pointers are of the type `pointer`.
            pub fn find(name: &str, ty: &WasmFuncType, pointer: WasmValType) -> Option<KnownFunction> {
                let name = ZIG.iter().find_map(|zig| name.strip_prefix(zig)).unwrap_or(name);
                let (function, params, results): (_, &[WasmValType], &[WasmValType]) = match name {
                    $($($name)|+ => (
                        KnownFunction::$variant,
                        &[$(known_functions!(@type pointer $param)),*],
                        &[$(known_functions!(@type pointer $result))?],
                    ),)*
                    _ => return None,
                };
                (ty.params() == params && ty.results() == results).then_some(function)
            }

            /// The function's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(KnownFunction::$variant => [$($name),+][0],)*
                }
            }
        }
    };
    (@type $pointer:ident p) => { $pointer };
    (@type $pointer:ident i) => { WasmValType::I32 };
}

known_functions! {
    /// `malloc(size)`
    Malloc: "malloc", [p] -> [p];
    /// `calloc(count, size)`
    Calloc: "calloc", [p p] -> [p];
    /// `realloc(block, size)`
    Realloc: "realloc", [p p] -> [p];
    /// `free(block)`
    Free: "free", [p] -> [];
    /// `aligned_alloc(alignment, size)` and `memalign`
    AlignedAlloc: "aligned_alloc" "memalign", [p p] -> [p];
    /// `posix_memalign(place, alignment, size)`
    PosixMemalign: "posix_memalign", [p p p] -> [i];
    /// `strdup(string)`
    Strdup: "strdup", [p] -> [p];
    /// `strndup(string, size)`
    Strndup: "strndup", [p p] -> [p];
    /// `malloc_usable_size(block)`, which looks at what allocators keep beside blocks.
    UsableSize: "malloc_usable_size", [p] -> [p];
    /// `memcpy(to, from, size)` and `memmove`
    Copy: "memcpy" "memmove", [p p p] -> [p];
    /// `memset(to, value, size)`
    Fill: "memset", [p i p] -> [p];
}

impl KnownFunction {
    /// The function of a number that generated code passes.
    pub fn from_u32(number: u32) -> Option<KnownFunction> {
        Self::ALL.get(number as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_by_name_and_type() {
        let malloc = WasmFuncType::new([WasmValType::I32], [WasmValType::I32]);
        let find = |name, pointer| KnownFunction::find(name, &malloc, pointer);
        assert_eq!(
            find("malloc", WasmValType::I32),
            Some(KnownFunction::Malloc)
        );
        assert_eq!(find("malloc", WasmValType::I64), None);
        assert_eq!(
            find("c.malloc.malloc", WasmValType::I32),
            Some(KnownFunction::Malloc)
        );
        assert_eq!(find("free", WasmValType::I32), None);
        for (i, function) in KnownFunction::ALL.iter().enumerate() {
            assert_eq!(KnownFunction::from_u32(i as u32), Some(*function));
        }
        assert_eq!(KnownFunction::from_u32(99), None);
    }
}
