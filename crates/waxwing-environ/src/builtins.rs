//! The functions of the runtime that generated code can call.

/// The type of a builtin's parameter or result in the host's native calling convention.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BuiltinType {
    /// A pointer to the caller's `VMContext`.
    VMContext,
    /// A pointer or pointer-sized integer.
    Pointer,
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
}

/// What a builtin returns, and how generated code knows that a trap is under way.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BuiltinResult {
    /// Nothing; the builtin cannot trap.
    None,
    /// A value; the builtin cannot trap.
    Value(BuiltinType),
    /// A byte, zero when a trap was recorded and generated code must call `raise`.
    TrapIfFalse,
    /// A value, [`BuiltinFunctionIndex::TRAP_SENTINEL`] when a trap was recorded and generated
    /// code must call `raise`.
    TrapIfSentinel(BuiltinType),
    /// The builtin never returns.
    Never,
}

/// Calls the macro `$mac` with the table of all builtins, one line each:
/// `name(parameter: type, …) -> result;`. Types are variants of `BuiltinType` in lower case;
/// a result is empty, a type, `bool` (traps when false), `trap TYPE` (traps on the sentinel) or
/// `never`.
#[macro_export]
macro_rules! for_each_builtin {
    ($mac:ident) => {
        $mac! {
            /// Unwinds to the host with the trap that another builtin recorded.
            raise(vmctx: vmctx) -> never;
            /// Records the trap with this code.
            trap(vmctx: vmctx, code: i32) -> bool;
            /// `memory.grow`: the previous size in pages, or -1.
            memory_grow(vmctx: vmctx, memory: i32, delta: i64) -> trap pointer;
            /// `memory.copy` between two memories.
            memory_copy(vmctx: vmctx, dst_memory: i32, dst: i64, src_memory: i32, src: i64, len: i64) -> bool;
            /// `memory.fill`.
            memory_fill(vmctx: vmctx, memory: i32, dst: i64, value: i32, len: i64) -> bool;
            /// Copies bytes that are in bounds of memories that are not shared, as `memmove` does.
            memory_move(vmctx: vmctx, dst: pointer, src: pointer, len: pointer);
            /// Sets bytes that are in bounds of a memory that is not shared.
            memory_set(vmctx: vmctx, dst: pointer, value: i32, len: pointer);
            /// `memory.init`.
            memory_init(vmctx: vmctx, memory: i32, data: i32, dst: i64, src: i32, len: i32) -> bool;
            /// `data.drop`.
            data_drop(vmctx: vmctx, data: i32);
            /// The `VMFuncRef` of a function of the instance, initialised if need be.
            ref_func(vmctx: vmctx, func: i32) -> pointer;
            /// `table.copy`.
            table_copy(vmctx: vmctx, dst_table: i32, src_table: i32, dst: i64, src: i64, len: i64) -> bool;
            /// `table.init`.
            table_init(vmctx: vmctx, table: i32, elem: i32, dst: i64, src: i64, len: i64) -> bool;
            /// `elem.drop`.
            elem_drop(vmctx: vmctx, elem: i32);
            /// `table.grow` of a table of functions: the previous size, or -1.
            table_grow_func_ref(vmctx: vmctx, table: i32, delta: i64, init: pointer) -> trap pointer;
            /// `table.grow` of a table of GC references: the previous size, or -1.
            table_grow_gc_ref(vmctx: vmctx, table: i32, delta: i64, init: i32) -> trap pointer;
            /// `table.fill` of a table of functions.
            table_fill_func_ref(vmctx: vmctx, table: i32, dst: i64, value: pointer, len: i64) -> bool;
            /// `table.fill` of a table of GC references.
            table_fill_gc_ref(vmctx: vmctx, table: i32, dst: i64, value: i32, len: i64) -> bool;
            /// Fills the element of a lazily initialised table of functions. The index is in bounds. It has no
            /// result, as what preserves all registers cannot have one.
            table_lazy_init_func_ref(vmctx: vmctx, table: i32, index: i64);
            /// A zeroed struct of a type of the module, by its `ModuleTypeIndex`.
            gc_alloc_struct(vmctx: vmctx, ty: i32) -> trap i32;
            /// A zeroed array of a type of the module.
            gc_alloc_array(vmctx: vmctx, ty: i32, len: i32) -> trap i32;
            /// A zeroed exception for a tag of the module.
            gc_alloc_exn(vmctx: vmctx, tag: i32) -> trap i32;
            /// `GcCollector::DeferredReferenceCounting`: the object's last counted reference is gone, and it is not listed.
            gc_list(vmctx: vmctx, object: i32);
            /// `GcCollector::DeferredReferenceCounting`: counts a reference to a host value up or down by `delta`, which is 1 or -1.
            gc_count_extern(vmctx: vmctx, reference: i32, delta: i32);
            /// Whether the first type, by `EngineTypeIndex`, is the second or a declared subtype of it: 1 or 0.
            gc_is_subtype(vmctx: vmctx, actual: i32, expected: i32) -> i32;
            /// Gives a function, which is not null, its `gc_id` and returns it.
            gc_intern_func_ref(vmctx: vmctx, func: pointer) -> trap i32;
            /// `array.new_data`
            array_new_data(vmctx: vmctx, ty: i32, data: i32, src: i32, len: i32) -> trap i32;
            /// `array.new_elem`
            array_new_elem(vmctx: vmctx, ty: i32, elem: i32, src: i32, len: i32) -> trap i32;
            /// `array.init_data`; the array may be null.
            array_init_data(vmctx: vmctx, array: i32, data: i32, dst: i32, src: i32, len: i32) -> bool;
            /// `array.init_elem`; the array may be null.
            array_init_elem(vmctx: vmctx, array: i32, elem: i32, dst: i32, src: i32, len: i32) -> bool;
            /// `array.copy`; the arrays may be null.
            array_copy(vmctx: vmctx, dst_array: i32, dst: i32, src_array: i32, src: i32, len: i32) -> bool;
            /// `array.fill` with a value in its representation in the heap, given as the low and high half of 128 bits;
            /// the array may be null.
            array_fill(vmctx: vmctx, array: i32, dst: i32, low: i64, high: i64, len: i32) -> bool;
            /// Throws an exception, which is not null.
            throw_ref(vmctx: vmctx, exception: i32) -> never;
            /// `f32.ceil` where the target has no instruction for it.
            ceil_f32(vmctx: vmctx, x: f32) -> f32;
            /// `f64.ceil` where the target has no instruction for it.
            ceil_f64(vmctx: vmctx, x: f64) -> f64;
            /// `f32.floor` where the target has no instruction for it.
            floor_f32(vmctx: vmctx, x: f32) -> f32;
            /// `f64.floor` where the target has no instruction for it.
            floor_f64(vmctx: vmctx, x: f64) -> f64;
            /// `f32.trunc` where the target has no instruction for it.
            trunc_f32(vmctx: vmctx, x: f32) -> f32;
            /// `f64.trunc` where the target has no instruction for it.
            trunc_f64(vmctx: vmctx, x: f64) -> f64;
            /// `f32.nearest` where the target has no instruction for it.
            nearest_f32(vmctx: vmctx, x: f32) -> f32;
            /// `f64.nearest` where the target has no instruction for it.
            nearest_f64(vmctx: vmctx, x: f64) -> f64;
            /// Fused multiply-add where the target has no instruction for it.
            fma_f32(vmctx: vmctx, x: f32, y: f32, z: f32) -> f32;
            /// Fused multiply-add where the target has no instruction for it.
            fma_f64(vmctx: vmctx, x: f64, y: f64, z: f64) -> f64;
            /// `memory.atomic.notify` at an effective address: the number of waiters woken.
            memory_atomic_notify(vmctx: vmctx, memory: i32, address: i64, count: i32) -> trap pointer;
            /// `memory.atomic.wait32` at an effective address: 0 when woken, 1 when the value is
            /// another, 2 when the time was out.
            memory_atomic_wait32(vmctx: vmctx, memory: i32, address: i64, expected: i32, timeout: i64) -> trap pointer;
            /// `memory.atomic.wait64`, as `memory_atomic_wait32`.
            memory_atomic_wait64(vmctx: vmctx, memory: i32, address: i64, expected: i64, timeout: i64) -> trap pointer;
            /// More fuel was used than there was: `left`, which is negative and counts what is not charged yet, is
            /// what is left. Returns if there is fuel now.
            out_of_fuel(vmctx: vmctx, left: i64) -> bool;
            /// The engine's epoch has reached the store's deadline. Returns if there is a new deadline.
            new_epoch(vmctx: vmctx) -> bool;
            /// Sets all `len` elements of a new array, which has been paid for; the value as for `array_fill`.
            array_fill_new(vmctx: vmctx, array: i32, low: i64, high: i64, len: i32) -> bool;
            /// `Tunables::wmemcheck`: checks a load from the first memory. 1 if none of the bytes was ever written, otherwise 0.
            wmemcheck_load(vmctx: vmctx, address: i64, len: i64) -> trap i32;
            /// `Tunables::wmemcheck`: checks a store to the first memory, of bytes that were never written if `undefined` is not 0.
            wmemcheck_store(vmctx: vmctx, address: i64, len: i64, undefined: i32) -> bool;
            /// `Tunables::wmemcheck`: checks a copy within the first memory.
            wmemcheck_copy(vmctx: vmctx, dst: i64, src: i64, len: i64) -> bool;
            /// `Tunables::wmemcheck`: fails, as bytes of the first memory that were never written, and were loaded, are used.
            wmemcheck_undefined(vmctx: vmctx, address: i64, len: i64) -> bool;
            /// `Tunables::wmemcheck`: a `KnownFunction` begins, with arguments.
            wmemcheck_enter(vmctx: vmctx, function: i32, first: i64, second: i64, third: i64) -> bool;
            /// `Tunables::wmemcheck`: the `KnownFunction` that began last returns.
            wmemcheck_exit(vmctx: vmctx, result: i64);
            /// `Tunables::wmemcheck`: the host, which may have written to the first memory, passes or was passed what may be a pointer.
            wmemcheck_host(vmctx: vmctx, argument: i64);
        }
    };
}

/// The most bytes that are worked on before the epoch is looked at, in code that is interrupted by epochs.
pub const UNINTERRUPTED_BYTES: u64 = 1 << 20;

macro_rules! builtin_type {
    (vmctx) => {
        BuiltinType::VMContext
    };
    (pointer) => {
        BuiltinType::Pointer
    };
    (i32) => {
        BuiltinType::I32
    };
    (i64) => {
        BuiltinType::I64
    };
    (f32) => {
        BuiltinType::F32
    };
    (f64) => {
        BuiltinType::F64
    };
}

macro_rules! builtin_result {
    () => {
        BuiltinResult::None
    };
    (never) => {
        BuiltinResult::Never
    };
    (bool) => {
        BuiltinResult::TrapIfFalse
    };
    (trap $ty:ident) => {
        BuiltinResult::TrapIfSentinel(builtin_type!($ty))
    };
    ($ty:ident) => {
        BuiltinResult::Value(builtin_type!($ty))
    };
}

macro_rules! define_builtins {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ident),*) $(-> $($result:ident)+)?;)*) => {
        /// A builtin function: an index into the array of code pointers that every `VMContext`
        /// points to.
        #[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[allow(non_camel_case_types, reason = "named as the builtins are")]
        #[repr(u32)]
        pub enum BuiltinFunctionIndex {
            $($(#[$doc])* $name,)*
        }

        impl BuiltinFunctionIndex {
            /// Every builtin in the order of the array.
            pub const ALL: &'static [BuiltinFunctionIndex] = &[$(BuiltinFunctionIndex::$name,)*];

            /// The types of the parameters.
            pub fn params(self) -> &'static [BuiltinType] {
                match self {
                    $(BuiltinFunctionIndex::$name => &[$(builtin_type!($ty)),*],)*
                }
            }

            /// What the builtin returns.
            pub fn result(self) -> BuiltinResult {
                match self {
                    $(BuiltinFunctionIndex::$name => builtin_result!($($($result)+)?),)*
                }
            }

            /// The builtin's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(BuiltinFunctionIndex::$name => stringify!($name),)*
                }
            }
        }
    };
}

for_each_builtin!(define_builtins);

impl BuiltinFunctionIndex {
    /// The value, in the width of the result, by which a builtin of
    /// [`BuiltinResult::TrapIfSentinel`] says that it recorded a trap.
    pub const TRAP_SENTINEL: i64 = -2;

    /// Whether generated code calls the builtin from paths that are hardly ever taken, so that the trampoline to it
    /// preserves all registers.
    pub fn is_cold(self) -> bool {
        matches!(
            self,
            BuiltinFunctionIndex::out_of_fuel
                | BuiltinFunctionIndex::new_epoch
                | BuiltinFunctionIndex::table_lazy_init_func_ref
        )
    }

    /// Whether the builtin looks at the store's fuel or changes it, or lets functions of the host do so: generated code
    /// has charged for all that came before.
    pub fn uses_fuel(self) -> bool {
        use BuiltinFunctionIndex as B;
        matches!(
            self,
            B::memory_copy
                | B::memory_fill
                | B::memory_init
                | B::table_copy
                | B::table_init
                | B::table_grow_func_ref
                | B::table_grow_gc_ref
                | B::table_fill_func_ref
                | B::table_fill_gc_ref
                | B::array_new_data
                | B::array_new_elem
                | B::array_init_data
                | B::array_init_elem
                | B::array_copy
                | B::array_fill
                | B::array_fill_new
                | B::throw_ref
                | B::out_of_fuel
                | B::new_epoch
        )
    }

    /// The position in the array of builtins.
    pub fn index(self) -> u32 {
        self as u32
    }

    /// The builtin at `index`.
    pub fn from_index(index: u32) -> Option<Self> {
        Self::ALL.get(index as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_positions() {
        for (i, builtin) in BuiltinFunctionIndex::ALL.iter().enumerate() {
            assert_eq!(builtin.index() as usize, i);
            assert_eq!(builtin.params()[0], BuiltinType::VMContext, "{builtin:?}");
        }
    }
}
