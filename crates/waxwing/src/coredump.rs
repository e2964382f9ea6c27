//! [`WasmCoreDump`]: what a store held when WebAssembly ended by a trap.

use std::collections::HashMap;
use std::fmt;

use wasm_encoder::{
    AbstractHeapType, ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection,
    CoreDumpStackSection, DataSection, GlobalSection, GlobalType, HeapType, MemorySection,
    MemoryType, RefType, ValType,
};
use waxwing_environ::{
    DefinedGlobalIndex, DefinedMemoryIndex, EntityIndex, EntityRef, GlobalIndex, IndexType,
    MemoryIndex, WasmHeapTop, WasmValType,
};
use waxwing_vm::{RawBacktrace, VMExport};

use crate::store::StoreOpaque;
use crate::{AsContextMut, FrameInfo, Global, Instance, Memory, Module, Val, WasmBacktrace};

/// The type of all references to exceptions.
const EXN: HeapType = HeapType::Abstract {
    shared: false,
    ty: AbstractHeapType::Exn,
};

/// Zeros in a memory are left out of a dump in runs of this many bytes, which is a page on most hosts.
const CHUNK: usize = 4096;

/// What there was in a store when a call of WebAssembly ended by a trap, an error of the host, or an exception that was not caught.
///
/// Errors carry one as context if [`Config::coredump_on_trap`] is on. It names what is in the store by handles, and is made into a
/// file for tools by [`serialize`](Self::serialize).
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::new(Config::new().coredump_on_trap(true))?;
/// let module = Module::new(
///     &engine,
///     r#"(module $m (memory 1) (func (export "f") (i32.store (i32.const 8) (i32.const 42)) unreachable))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let function = instance.get_typed_func::<(), ()>(&mut store, "f")?;
///
/// let error = function.call(&mut store, ()).unwrap_err();
/// let dump = error.downcast_ref::<WasmCoreDump>().expect("configured");
/// assert_eq!(dump.frames().len(), 1);
/// assert_eq!(dump.memories()[0].data(&store)[8], 42);
/// let file = dump.serialize(&mut store, "m.wasm");
/// assert!(file.starts_with(b"\0asm"));
/// # Ok(())
/// # }
/// ```
///
/// [`Config::coredump_on_trap`]: crate::Config::coredump_on_trap
pub struct WasmCoreDump {
    backtrace: WasmBacktrace,
    modules: Vec<Module>,
    instances: Vec<Instance>,
    memories: Vec<Memory>,
    globals: Vec<Global>,
}

impl WasmCoreDump {
    /// A dump of all that is in the store. The arguments are as for [`WasmBacktrace::from_raw`].
    pub(crate) fn new(
        store: &StoreOpaque,
        raw: &RawBacktrace,
        exact_first_pc: bool,
    ) -> WasmCoreDump {
        let mut dump = WasmCoreDump {
            backtrace: WasmBacktrace::from_raw(store, raw, exact_first_pc),
            modules: store.modules().to_vec(),
            instances: Vec::new(),
            memories: Vec::new(),
            globals: Vec::new(),
        };
        let core = store.core();
        for id in core.instances() {
            let module = core.instance(id).module();
            if store.module_of(module).is_some() {
                dump.instances.push(Instance::from_id(store, id));
            }
            let facts = module.module();
            for index in (0..facts.num_defined_memories()).map(DefinedMemoryIndex::new) {
                if !facts.memories[facts.memory_index(index)].shared {
                    let memory = Memory::new_handle(store.id(), id, index);
                    dump.memories.push(memory);
                }
            }
            for index in (0..facts.num_defined_globals()).map(DefinedGlobalIndex::new) {
                dump.globals.push(Global::new_handle(store.id(), id, index));
            }
        }
        dump
    }

    /// The functions of WebAssembly that were being executed, the innermost first, whatever
    /// [`Config::wasm_backtrace`](crate::Config::wasm_backtrace) says.
    pub fn frames(&self) -> &[FrameInfo] {
        self.backtrace.frames()
    }

    /// The modules of all instances in the store.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// All instances in the store.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// All globals in the store, those of instances and those that the host made, exported or not.
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// All memories in the store, those of instances and those that the host made, exported or not. Shared memories are not among
    /// them: they belong to no store.
    pub fn memories(&self) -> &[Memory] {
        &self.memories
    }

    /// Writes the dump in the [format of WebAssembly's tool conventions][format], a WebAssembly binary that is not meant to be
    /// instantiated. `name` says what was being executed, such as a file.
    ///
    /// Memories and globals are written as they are when this is called: call it before anything else is done with the store. Of
    /// globals that are references it is written that they are null, and of shared memories no contents. Values of locals and of the
    /// operand stack are not known. Where a module has several instances, its frames are said to be of the first.
    ///
    /// [format]: https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md
    ///
    /// # Panics
    ///
    /// Panics if `store` is not the one that the dump is of.
    pub fn serialize(&self, mut store: impl AsContextMut, name: &str) -> Vec<u8> {
        let store = store.as_context_mut();
        for instance in &self.instances {
            store.0.assert_owns(instance.owner());
        }
        let mut file = wasm_encoder::Module::new();
        file.section(&CoreDumpSection::new(name));

        let mut modules = CoreDumpModulesSection::new();
        let mut module_indices = HashMap::new();
        for (index, module) in self.modules.iter().enumerate() {
            module_indices.insert(std::ptr::from_ref(&**module.loaded()), index as u32);
            modules.module(
                module
                    .name()
                    .map_or_else(|| format!("<module {index}>"), str::to_string),
            );
        }
        file.section(&modules);

        let memories = write_memories(store.0);
        let mut globals = GlobalSection::new();
        let mut global_indices = HashMap::new();
        for global in &self.globals {
            global_indices.insert(*global, globals.len());
            write_global(store.0, *global, &mut globals);
        }
        let mut instances = CoreDumpInstancesSection::new();
        let mut first_instances = HashMap::new();
        for (index, instance) in self.instances.iter().enumerate() {
            let id = instance.vm_id();
            let vm = store.0.core().instance(id);
            let module = std::ptr::from_ref(&**vm.module());
            first_instances.entry(module).or_insert(index as u32);
            let facts = vm.module().module();
            let memory_indices = (0..facts.memories.len()).filter_map(|i| {
                match vm.export(EntityIndex::Memory(MemoryIndex::new(i)))? {
                    VMExport::Memory { instance, index } => {
                        memories.indices.get(&(instance, index)).copied()
                    }
                    _ => None,
                }
            });
            let instance_globals = (0..facts.globals.len()).filter_map(|i| {
                match vm.export(EntityIndex::Global(GlobalIndex::new(i)))? {
                    VMExport::Global { instance, index } => {
                        let global = Global::new_handle(store.0.id(), instance, index);
                        global_indices.get(&global).copied()
                    }
                    _ => None,
                }
            });
            instances.instance(
                module_indices.get(&module).copied().unwrap_or(0),
                memory_indices.collect::<Vec<_>>(),
                instance_globals.collect::<Vec<_>>(),
            );
        }
        file.section(&instances);

        let mut stack = CoreDumpStackSection::new("main");
        for frame in self.frames() {
            let module = std::ptr::from_ref(&**frame.module().loaded());
            stack.frame(
                first_instances.get(&module).copied().unwrap_or(0),
                frame.func_index(),
                frame.func_offset().unwrap_or(0) as u32,
                [],
                [],
            );
        }
        file.section(&stack);
        file.section(&memories.types);
        file.section(&globals);
        file.section(&memories.data);
        file.finish()
    }
}

/// The memories of a store, as sections.
struct Memories {
    types: MemorySection,
    data: DataSection,
    indices: HashMap<(waxwing_vm::InstanceId, DefinedMemoryIndex), u32>,
}

fn write_memories(store: &StoreOpaque) -> Memories {
    let mut written = Memories {
        types: MemorySection::new(),
        data: DataSection::new(),
        indices: HashMap::new(),
    };
    for id in store.core().instances() {
        let instance = store.core().instance(id);
        let facts = instance.module().module();
        for index in (0..facts.num_defined_memories()).map(DefinedMemoryIndex::new) {
            let memory = instance.memory(index);
            let ty = memory.ty();
            let number = written.types.len();
            written.indices.insert((id, index), number);
            let memory64 = ty.idx_type == IndexType::I64;
            written.types.memory(MemoryType {
                minimum: memory.pages(),
                maximum: ty.limits.max,
                memory64,
                shared: ty.shared,
                page_size_log2: (ty.page_size_log2 != 16).then_some(ty.page_size_log2.into()),
            });
            if ty.shared {
                continue;
            }
            let bytes = Memory::new_handle(store.id(), id, index).bytes(store);
            let mut rest = 0;
            while let Some((start, run)) = next_run(bytes, rest) {
                let offset = match memory64 {
                    true => ConstExpr::i64_const(start as i64),
                    false => ConstExpr::i32_const(start as i32),
                };
                written.data.active(number, &offset, run.iter().copied());
                rest = start + run.len();
            }
        }
    }
    written
}

/// The next run of chunks that are not all zeros, from `from` on, which is at a chunk's start.
fn next_run(bytes: &[u8], from: usize) -> Option<(usize, &[u8])> {
    let is_zero = |chunk: &[u8]| chunk.iter().all(|byte| *byte == 0);
    let mut chunks = bytes.get(from..)?.chunks(CHUNK);
    let skipped = chunks.by_ref().position(|chunk| !is_zero(chunk))?;
    let start = from + skipped * CHUNK;
    let more = chunks.take_while(|chunk| !is_zero(chunk)).count();
    let end = bytes.len().min(start + (1 + more) * CHUNK);
    Some((start, &bytes[start..end]))
}

fn write_global<T>(
    store: &mut crate::store::StoreInner<T>,
    global: Global,
    section: &mut GlobalSection,
) {
    let ty = global.vm_type(store);
    let (val_type, value) = match ty.wasm_ty {
        WasmValType::Ref(ty) => {
            let heap_type = match ty.heap_type.top() {
                WasmHeapTop::Func => HeapType::FUNC,
                WasmHeapTop::Extern => HeapType::EXTERN,
                WasmHeapTop::Any => HeapType::ANY,
                WasmHeapTop::Exn => EXN,
            };
            let ty = ValType::Ref(RefType {
                nullable: true,
                heap_type,
            });
            (ty, ConstExpr::ref_null(heap_type))
        }
        _ => match global.get(crate::StoreContextMut(store)) {
            Val::I32(value) => (ValType::I32, ConstExpr::i32_const(value)),
            Val::I64(value) => (ValType::I64, ConstExpr::i64_const(value)),
            Val::F32(bits) => (
                ValType::F32,
                ConstExpr::f32_const(wasm_encoder::Ieee32::new(bits)),
            ),
            Val::F64(bits) => (
                ValType::F64,
                ConstExpr::f64_const(wasm_encoder::Ieee64::new(bits)),
            ),
            Val::V128(value) => (
                ValType::V128,
                ConstExpr::v128_const(value.as_u128().cast_signed()),
            ),
            _ => unreachable!("references were told apart"),
        },
    };
    let ty = GlobalType {
        val_type,
        mutable: ty.mutability,
        shared: false,
    };
    section.global(ty, &value);
}

impl fmt::Debug for WasmCoreDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmCoreDump")
            .field("frames", &self.frames().len())
            .field("modules", &self.modules)
            .field("instances", &self.instances)
            .field("memories", &self.memories)
            .field("globals", &self.globals)
            .finish()
    }
}

/// How much there is, in one line.
impl fmt::Display for WasmCoreDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "wasm core dump: modules: {}, instances: {}, memories: {}, globals: {}, frames: {}",
            self.modules.len(),
            self.instances.len(),
            self.memories.len(),
            self.globals.len(),
            self.frames().len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_left_out() {
        let mut bytes = vec![0; 5 * CHUNK + 100];
        assert_eq!(next_run(&bytes, 0), None);
        bytes[CHUNK] = 1;
        bytes[3 * CHUNK - 1] = 2;
        bytes[5 * CHUNK + 99] = 3;
        let (start, run) = next_run(&bytes, 0).unwrap();
        assert_eq!((start, run.len()), (CHUNK, 2 * CHUNK));
        let (start, run) = next_run(&bytes, 3 * CHUNK).unwrap();
        assert_eq!((start, run.len()), (5 * CHUNK, 100));
        assert_eq!(next_run(&bytes, 5 * CHUNK + 100), None);
    }
}
