//! [`LoadedModule`]: a compiled module, ready to be instantiated.

use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use anyhow::{Context, Result, anyhow, ensure};
use waxwing_environ::artifact::{ArtifactInfo, FunctionLoc, FunctionTable, TrampolineKind};
use waxwing_environ::{
    DefinedFuncIndex, DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex, ElementSegment,
    EngineTypeIndex, EntityIndex, EntityRef, EntityType, FuncIndex, Global, GlobalIndex,
    InlinedFunction, Memory, MemoryImageFacts, MemoryIndex, MemoryInitialization, Module,
    ModuleTypeIndex, ModuleTypes, PrimaryMap, PtrSize, Table, TableIndex, Tag, TagIndex, TypeRef,
    VMOffsets, WasmRefType, WasmSubType, WasmValType,
};

use crate::allocator::Pool;
use crate::code_memory::CodeMemory;
use crate::gc::GcType;
use crate::instance::is_gc_type;
use crate::memory::{self, MemoryKey};
use crate::memory_image::MemoryImage;
use crate::type_registry::{RegisteredModuleTypes, RegisteredType, TypeRegistry};
use crate::vmcontext::VMWasmCode;

/// The layout of pointers on this host.
pub(crate) const HOST_PTR: PtrSize = PtrSize(size_of::<usize>() as u8);

/// The result of preparing a memory image, which happens once.
type ImageSlot = OnceLock<Result<Option<Arc<MemoryImage>>, Arc<anyhow::Error>>>;

/// What of each instance of a module holds GC references.
pub(crate) struct GcRoots {
    /// Globals that the module defines.
    pub(crate) globals: Box<[DefinedGlobalIndex]>,
    /// Tables that the module defines.
    pub(crate) tables: Box<[DefinedTableIndex]>,
    /// Whether there are passive element segments of GC references.
    elements: bool,
}

impl GcRoots {
    fn of(module: &Module) -> GcRoots {
        let globals = module.globals.iter();
        let globals = globals.filter(|(_, ty)| is_gc_type(ty.wasm_ty));
        let tables = module.tables.iter();
        let tables = tables.filter(|(_, ty)| is_gc_type(WasmValType::Ref(ty.ref_type)));
        let mut elements = module.passive_elements.values().flatten();
        GcRoots {
            globals: globals
                .filter_map(|(index, _)| module.defined_global_index(index))
                .collect(),
            tables: tables
                .filter_map(|(index, _)| module.defined_table_index(index))
                .collect(),
            elements: elements.any(
                |segment| matches!(segment, ElementSegment::Expressions(ty, _) if is_gc_type(*ty)),
            ),
        }
    }

    /// Whether nothing does.
    pub(crate) fn is_empty(&self) -> bool {
        self.globals.is_empty() && self.tables.is_empty() && !self.elements
    }
}

/// A compiled module with its types registered: what all instances of it share.
///
/// Loading does no work per function.
pub struct LoadedModule {
    id: u64,
    /// The pool that may have memory mapped for the module.
    pool: OnceLock<Weak<Pool>>,
    /// Whether mappings of memories may have been kept for the module.
    may_have_spares: AtomicBool,
    /// Nothing for modules that the store makes up for items of the host.
    code: Option<Arc<CodeMemory>>,
    module: Module,
    /// The addresses of dispatch tables.
    dispatch_tables: Box<[(DefinedTableIndex, usize)]>,
    types: ModuleTypes,
    offsets: VMOffsets,
    registered: RegisteredModuleTypes,
    /// Types of the engine that are referred to directly, to keep them registered.
    _foreign_types: Vec<RegisteredType>,
    /// Sorted pairs, to find trampolines.
    by_engine_type: Box<[(EngineTypeIndex, ModuleTypeIndex)]>,
    images: PrimaryMap<DefinedMemoryIndex, ImageSlot>,
    copy_images: bool,
    gc_types: OnceLock<Box<[Arc<GcType>]>>,
    gc_roots: GcRoots,
}

impl LoadedModule {
    /// Registers the types of a compiled module. `info` is the artifact's, decoded. With `copy_images`
    /// the initial contents of memories are copied to anonymous files, even if the artifact is mapped
    /// from a file itself.
    ///
    /// # Errors
    ///
    /// Fails if the facts in `info` do not fit each other or the code.
    pub fn new(
        code: Arc<CodeMemory>,
        info: ArtifactInfo,
        registry: &Arc<TypeRegistry>,
        copy_images: bool,
    ) -> Result<Arc<LoadedModule>> {
        let ArtifactInfo {
            module,
            types,
            dispatch_tables,
        } = info;
        let functions = code.functions();
        ensure!(
            functions.num_functions() == module.num_functions
                && functions.num_defined() == module.num_defined_functions(),
            "the artifact's function table is not the one of its module; compile the module again"
        );
        let text = code.text_range();
        let dispatch_tables = dispatch_tables
            .into_iter()
            .map(|(table, offset)| {
                let address = text.start + offset as usize;
                let is_there = table.index() < module.num_defined_tables() && text.contains(&address);
                is_there.then_some((table, address))
            })
            .collect::<Option<_>>()
            .context("the artifact has a dispatch table of no table, or where no code is; compile the module again")?;
        LoadedModule::build(
            Some(code),
            module,
            types,
            registry,
            Vec::new(),
            copy_images,
            dispatch_tables,
        )
    }

    /// A module without code, for items that the host makes. `foreign_types` are those of the engine
    /// that `module` refers to.
    pub(crate) fn synthetic(
        module: Module,
        registry: &Arc<TypeRegistry>,
        foreign_types: Vec<RegisteredType>,
    ) -> Result<Arc<LoadedModule>> {
        LoadedModule::build(
            None,
            module,
            ModuleTypes::default(),
            registry,
            foreign_types,
            false,
            Box::default(),
        )
    }

    fn build(
        code: Option<Arc<CodeMemory>>,
        module: Module,
        types: ModuleTypes,
        registry: &Arc<TypeRegistry>,
        foreign_types: Vec<RegisteredType>,
        copy_images: bool,
        dispatch_tables: Box<[(DefinedTableIndex, usize)]>,
    ) -> Result<Arc<LoadedModule>> {
        let registered = registry.register_module_types(&types)?;
        let mut by_engine_type: Box<[_]> = registered
            .as_slice()
            .iter()
            .enumerate()
            .map(|(i, engine)| (*engine, ModuleTypeIndex::new(i)))
            .collect();
        by_engine_type.sort_unstable();
        let images = (0..module.num_defined_memories())
            .map(|_| OnceLock::new())
            .collect();
        let gc_roots = GcRoots::of(&module);
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Ok(Arc::new(LoadedModule {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            pool: OnceLock::new(),
            may_have_spares: AtomicBool::new(false),
            offsets: VMOffsets::new(HOST_PTR, &module),
            code,
            module,
            dispatch_tables,
            types,
            registered,
            _foreign_types: foreign_types,
            by_engine_type,
            images,
            copy_images,
            gc_types: OnceLock::new(),
            gc_roots,
        }))
    }

    /// The identity of the module: no two modules of a process have the same.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The pool is going to keep memory mapped for the module.
    pub(crate) fn remember_pool(&self, pool: &Arc<Pool>) {
        self.pool.get_or_init(|| Arc::downgrade(pool));
    }

    /// What memories of the module that come and go can be told from others by. From now on there may be spare ones. `None`
    /// if the module is one that a store made up, which makes one instance alone.
    pub(crate) fn memory_key(&self, index: DefinedMemoryIndex) -> Option<MemoryKey> {
        self.has_code().then(|| {
            self.may_have_spares.store(true, Ordering::Relaxed);
            MemoryKey {
                module: self.id,
                index: index.as_u32(),
            }
        })
    }

    /// The facts of the module. References to types in it are to the module's own.
    #[inline]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The module's types.
    pub fn types(&self) -> &ModuleTypes {
        &self.types
    }

    /// The layout of the module's `VMContext`s.
    #[inline]
    pub fn offsets(&self) -> &VMOffsets {
        &self.offsets
    }

    /// The tables of which there is a copy for dispatch, and where in the code it is.
    pub(crate) fn dispatch_tables(&self) -> &[(DefinedTableIndex, usize)] {
        &self.dispatch_tables
    }

    /// The artifact.
    ///
    /// # Panics
    ///
    /// Panics if the module is one that a store made up for an item of the host, which no embedder
    /// ever sees.
    pub fn code(&self) -> &Arc<CodeMemory> {
        self.code.as_ref().expect("the module was compiled")
    }

    /// Whether there is an artifact: the module was not made up by a store.
    pub fn has_code(&self) -> bool {
        self.code.is_some()
    }

    /// The types of functions, and where their code is.
    ///
    /// # Panics
    ///
    /// As for [`Self::code`].
    pub fn functions(&self) -> FunctionTable<'_> {
        self.code().functions()
    }

    /// The engine's index of each type, by [`ModuleTypeIndex`].
    pub fn type_ids(&self) -> &[EngineTypeIndex] {
        self.registered.as_slice()
    }

    /// The engine's index of a type.
    pub fn engine_type(&self, ty: ModuleTypeIndex) -> EngineTypeIndex {
        self.registered.index(ty)
    }

    /// Whether stores with the module need a table of the types of objects: it can make some, or tests
    /// for types other than by equality.
    pub(crate) fn needs_gc_types(&self) -> bool {
        self.module.needs_gc_heap || self.types.types.values().any(|ty| !ty.is_final)
    }

    /// What of each instance holds GC references.
    pub(crate) fn gc_roots(&self) -> &GcRoots {
        &self.gc_roots
    }

    /// What follows from each type of the module. Made at the first call.
    pub(crate) fn gc_types(&self) -> &[Arc<GcType>] {
        self.gc_types.get_or_init(|| {
            let types = &self.types.types;
            let gc_type = |(index, ty): (ModuleTypeIndex, &WasmSubType)| {
                let supertype = |index: &ModuleTypeIndex| {
                    let supertype = types[*index].supertype?.unwrap_module();
                    // So it is in every valid module; in a damaged one the chain ends here.
                    Some(supertype).filter(|supertype| supertype < index)
                };
                let supertypes = std::iter::successors(supertype(&index), supertype);
                let supertypes = supertypes.map(|index| self.engine_type(index));
                Arc::new(GcType::new(self.engine_type(index), ty, supertypes))
            };
            types.iter().map(gc_type).collect()
        })
    }

    /// The type of a function.
    pub fn func_type(&self, func: FuncIndex) -> EngineTypeIndex {
        self.engine_type(self.functions().signature(func))
    }

    /// A reference type with the engine's types.
    pub fn engine_ref_type(&self, ty: WasmRefType) -> WasmRefType {
        WasmRefType {
            nullable: ty.nullable,
            heap_type: self.registered.heap_type(ty.heap_type),
        }
    }

    /// The type of a table, with the engine's types.
    pub fn table_type(&self, index: TableIndex) -> Table {
        let ty = self.module.tables[index];
        Table {
            ref_type: self.engine_ref_type(ty.ref_type),
            ..ty
        }
    }

    /// The type of a linear memory.
    pub fn memory_type(&self, index: MemoryIndex) -> Memory {
        self.module.memories[index]
    }

    /// The type of a global, with the engine's types.
    pub fn global_type(&self, index: GlobalIndex) -> Global {
        let ty = self.module.globals[index];
        Global {
            wasm_ty: ty
                .wasm_ty
                .map_type_ref(&mut |reference| self.registered.type_ref(reference)),
            ..ty
        }
    }

    /// The type of an exception tag, with the engine's types.
    pub fn tag_type(&self, index: TagIndex) -> Tag {
        Tag {
            signature: self.registered.type_ref(self.module.tags[index].signature),
        }
    }

    /// The type of an item, with the engine's types.
    pub fn entity_type(&self, index: EntityIndex) -> EntityType {
        match index {
            EntityIndex::Function(i) => EntityType::Function(TypeRef::Engine(self.func_type(i))),
            EntityIndex::Table(i) => EntityType::Table(self.table_type(i)),
            EntityIndex::Memory(i) => EntityType::Memory(self.memory_type(i)),
            EntityIndex::Global(i) => EntityType::Global(self.global_type(i)),
            EntityIndex::Tag(i) => EntityType::Tag(self.tag_type(i)),
        }
    }

    fn code_at(&self, loc: FunctionLoc) -> Option<NonNull<VMWasmCode>> {
        Some(self.code().code_address(loc)?.cast())
    }

    /// The code of a defined function; `None` if a damaged artifact places it outside of its text.
    pub fn func_code(&self, index: DefinedFuncIndex) -> Option<NonNull<VMWasmCode>> {
        self.code_at(self.func_range(index))
    }

    /// Where the code of a defined function is in the text section.
    pub fn func_range(&self, index: DefinedFuncIndex) -> FunctionLoc {
        self.functions().code(index)
    }

    /// How the module's code calls functions of the host of the type `ty`, if it has such calls: by `ty`
    /// itself, or by a supertype, whose parameters and results are passed in the same way.
    pub fn host_call(
        &self,
        registry: &TypeRegistry,
        ty: EngineTypeIndex,
    ) -> Option<NonNull<VMWasmCode>> {
        let by_type = |ty| self.trampoline(TrampolineKind::WasmToArray, ty);
        by_type(ty).or_else(|| registry.supertypes(ty).into_iter().find_map(by_type))
    }

    /// The trampoline of a kind for functions of type `ty`, if the module has one.
    pub fn trampoline(
        &self,
        kind: TrampolineKind,
        ty: EngineTypeIndex,
    ) -> Option<NonNull<VMWasmCode>> {
        let functions = self.code.as_ref()?.functions();
        let first = self
            .by_engine_type
            .partition_point(|(engine, _)| *engine < ty);
        self.by_engine_type[first..]
            .iter()
            .take_while(|(engine, _)| *engine == ty)
            .find_map(|(_, module)| self.code_at(functions.trampoline(kind, *module)?))
    }

    /// Bytes of data segments and images.
    ///
    /// # Errors
    ///
    /// Fails if a damaged artifact has no such bytes.
    pub fn data(&self, range: Range<u32>) -> Result<&[u8]> {
        let data: &[u8] = self.code.as_ref().map_or(&[], |code| code.wasm_data());
        data.get(range.start as usize..range.end as usize)
            .ok_or_else(|| {
                anyhow!(
                    "the artifact has no data at {:#x}..{:#x}; compile the module again",
                    range.start,
                    range.end
                )
            })
    }

    /// What is known at compile time of the initial contents of a defined memory.
    pub(crate) fn image_facts(&self, index: DefinedMemoryIndex) -> Option<&MemoryImageFacts> {
        match &self.module.memory_initialization {
            MemoryInitialization::Static(images) => {
                images.get(self.module.memory_index(index))?.as_ref()
            }
            MemoryInitialization::Segmented(_) => None,
        }
    }

    /// The initial contents of a defined memory, to be mapped. Made at the first call; `None` if there
    /// are none, or the host cannot map them.
    ///
    /// # Errors
    ///
    /// Fails if the artifact is damaged, or the system fails to make an anonymous file. All calls fail
    /// if the first one does.
    pub fn image(&self, index: DefinedMemoryIndex) -> Result<Option<&Arc<MemoryImage>>> {
        let make = || {
            let image = self.make_image(index).map_err(Arc::new)?;
            Ok(image.map(Arc::new))
        };
        let made = self.images[index].get_or_init(make);
        match made {
            Ok(image) => Ok(image.as_ref()),
            Err(error) => Err(anyhow!("{error:#}")),
        }
    }

    fn make_image(&self, index: DefinedMemoryIndex) -> Result<Option<MemoryImage>> {
        let Some(MemoryImageFacts { offset, data }) = self.image_facts(index) else {
            return Ok(None);
        };
        let range = data.start as usize..data.end as usize;
        let len = range.len();
        let source = self
            .code()
            .image_source(range, self.copy_images)
            .ok_or_else(|| {
                anyhow!("the artifact has no image for {index:?}; compile the module again")
            })?;
        let offset =
            usize::try_from(*offset).context("a memory image is beyond the address space")?;
        MemoryImage::new(source, len, offset)
    }

    /// The name of a function in the name section.
    pub fn func_name(&self, index: FuncIndex) -> Option<&str> {
        self.code.as_ref()?.function_names()?.get(index)
    }

    /// The offset in the wasm binary of the instruction that the code at `text_offset` belongs to.
    pub fn wasm_offset(&self, text_offset: u32) -> Option<u32> {
        self.code.as_ref()?.address_map()?.lookup(text_offset)
    }

    /// The inlined functions that the code at `text_offset` belongs to, the innermost first.
    pub fn inlined_at(&self, text_offset: u32) -> impl Iterator<Item = InlinedFunction> {
        let inlined = self.code.as_ref().and_then(|code| code.inlined_functions());
        inlined
            .into_iter()
            .flat_map(move |inlined| inlined.at(text_offset))
    }

    /// The defined function whose code contains the address `pc`, the offset of `pc` in the text
    /// section, and where the function's code is there.
    pub fn lookup_pc(&self, pc: usize) -> Option<(DefinedFuncIndex, u32, FunctionLoc)> {
        let code = self.code.as_ref()?;
        let text_offset = pc.checked_sub(code.text_range().start)?;
        let text_offset = u32::try_from(text_offset).ok()?;
        let (func, loc) = code.functions().find(text_offset)?;
        Some((func, text_offset, loc))
    }
}

impl Drop for LoadedModule {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.get().and_then(Weak::upgrade) {
            pool.forget_module(self.id, self.module.num_defined_memories() as u32);
        }
        if *self.may_have_spares.get_mut() {
            memory::forget_module(self.id);
        }
    }
}

impl fmt::Debug for LoadedModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedModule")
            .field("name", &self.module.name)
            .finish_non_exhaustive()
    }
}
