//! From the bytes of a module to its facts and function bodies.

use super::branch_hints::BranchHints;
use super::types::{TypeConverter, memory};
use super::{
    BodyFacts, CompileError, DispatchTable, InliningPlan, dispatch, memory_image, table_image,
};
use crate::{
    ConstExpr, ConstOp, DataSegment, DefinedFuncIndex, DefinedTableIndex, ElementSegment,
    EntityIndex, EntityType, Export, FuncIndex, FuncRefIndex, FunctionFacts, Global, GlobalIndex,
    Import, Inlining, MemoryIndex, MemoryInitialization, Module, ModuleTypeIndex, ModuleTypes,
    PrimaryMap, TableIndex, TableInitialValue, TableSegment, Tag, TagIndex, Tunables, TypeIndex,
    TypeRef,
};
use core::ops::Range;
use smallvec::SmallVec;
use wasmparser::{
    CustomSectionReader, Data, DataKind, Element, ElementItems, ElementKind, Encoding,
    FuncToValidate, FunctionBody, KnownCustom, Name, Operator, Parser, Payload, TableInit,
    Validator, ValidatorResources, WasmFeatures,
};

/// The body of a function, and what is needed to validate it.
pub struct FunctionBodyData<'data> {
    /// The body.
    pub body: FunctionBody<'data>,
    /// The validator for this body.
    pub validator: FuncToValidate<ValidatorResources>,
}

impl Clone for FunctionBodyData<'_> {
    fn clone(&self) -> Self {
        FunctionBodyData {
            body: self.body.clone(),
            validator: FuncToValidate {
                resources: self.validator.resources.clone(),
                index: self.validator.index,
                ty: self.validator.ty,
                features: self.validator.features,
            },
        }
    }
}

/// A module on its way from bytes to code.
pub struct ModuleTranslation<'data> {
    /// The facts of the module.
    pub module: Module,
    /// Its types.
    pub types: ModuleTypes,
    /// The facts of its functions.
    pub functions: PrimaryMap<FuncIndex, FunctionFacts>,
    /// The bodies of defined functions.
    pub bodies: PrimaryMap<DefinedFuncIndex, FunctionBodyData<'data>>,
    /// Converts further types of function bodies.
    pub type_converter: TypeConverter,
    /// What validation knows of the module.
    pub wasm_types: wasmparser::types::Types,
    /// The settings that the code is for.
    pub tunables: Tunables,
    /// Function names of the name section, sorted by index.
    pub function_names: Vec<(FuncIndex, &'data str)>,
    /// Which way branches are likely to go.
    pub branch_hints: BranchHints,
    /// The calls that are inlined: none before [`analyze`](Self::analyze).
    pub inlining: InliningPlan,
    /// The tables that have copies for dispatch: none before [`analyze`](Self::analyze).
    pub dispatch_tables: PrimaryMap<DefinedTableIndex, Option<DispatchTable>>,
    /// The contents of the artifact's data section, in pieces.
    pub data: DataSection<'data>,
    /// DWARF sections of the binary, by name. They become sections of the artifact.
    pub debug_sections: Vec<(&'data str, &'data [u8])>,
    /// Sections of the DWARF package that belongs to the binary, by name. They become sections of the artifact.
    pub package_sections: Vec<(String, std::borrow::Cow<'data, [u8]>)>,
    /// Whether the sections of the binary and of the package do become sections of the artifact.
    pub keep_debug_sections: bool,
}

/// The contents of the artifact's data section.
#[derive(Default)]
pub struct DataSection<'data> {
    /// The pieces in order.
    pub pieces: Vec<std::borrow::Cow<'data, [u8]>>,
    /// The sum of their lengths.
    pub len: u32,
}

impl<'data> DataSection<'data> {
    /// Appends `bytes` and returns where they are.
    pub fn push(
        &mut self,
        bytes: impl Into<std::borrow::Cow<'data, [u8]>>,
    ) -> Result<Range<u32>, CompileError> {
        let bytes = bytes.into();
        let start = self.len;
        let len = u32::try_from(bytes.len()).ok();
        self.len = len.and_then(|len| start.checked_add(len)).ok_or_else(|| {
            CompileError::ImplementationLimit("more than 4 GiB of initial data".to_string())
        })?;
        self.pieces.push(bytes);
        Ok(start..self.len)
    }

    /// Appends zeros up to a multiple of `alignment`.
    pub fn align(&mut self, alignment: u32) -> Result<(), CompileError> {
        let padding = self.len.next_multiple_of(alignment) - self.len;
        if padding > 0 {
            self.push(vec![0; padding as usize])?;
        }
        Ok(())
    }
}

impl<'data> ModuleTranslation<'data> {
    /// Parses `bytes` and validates all of it but function bodies, under `features`.
    pub fn new(
        bytes: &'data [u8],
        features: WasmFeatures,
        tunables: &Tunables,
    ) -> Result<Self, CompileError> {
        let mut validator = Validator::new_with_features(features);
        let mut translator = Translator {
            module: Module::default(),
            types: ModuleTypes::default(),
            functions: PrimaryMap::new(),
            bodies: PrimaryMap::new(),
            types_of: TypeConverter::default(),
            function_names: Vec::new(),
            branch_hints: BranchHints::default(),
            data: Vec::new(),
            debug_sections: Vec::new(),
        };
        let mut parser = Parser::new(0);
        parser.set_features(features);
        let mut wasm_types = None;
        for payload in parser.parse_all(bytes) {
            let payload = payload?;
            match validator.payload(&payload)? {
                wasmparser::ValidPayload::Func(validator, body) => {
                    translator.bodies.push(FunctionBodyData { body, validator });
                }
                wasmparser::ValidPayload::End(types) => wasm_types = Some(types),
                _ => translator.payload(payload, &validator)?,
            }
        }
        let wasm_types = wasm_types.ok_or_else(|| CompileError::Invalid {
            message: "unexpected end of the module".to_string(),
            offset: bytes.len() as u64,
        })?;
        translator.finish(wasm_types, tunables)
    }

    /// Takes what is known of the bodies, for code to be better than it is when nothing is.
    pub fn analyze(&mut self, bodies: &PrimaryMap<DefinedFuncIndex, BodyFacts>) {
        self.dispatch_tables = dispatch::find(&self.module, &self.functions, bodies.values());
        // Native debuggers are told of functions as they are in the module.
        let is_wanted = match self.tunables.inlining {
            Inlining::Yes => true,
            Inlining::InterModuleAndIntraGc => self.module.needs_gc_heap,
            Inlining::InterModule | Inlining::Intrinsics | Inlining::No => false,
        };
        if is_wanted && !self.tunables.debug_info {
            let escapes = |func| self.functions[func].func_ref.is_some();
            self.inlining = InliningPlan::new(&self.module, bodies, escapes);
        }
    }

    /// The copy of a table for dispatch, if there is one.
    pub fn dispatch_table(&self, table: TableIndex) -> Option<&DispatchTable> {
        let defined = self.module.defined_table_index(table)?;
        self.dispatch_tables.get(defined)?.as_ref()
    }

    /// Whether frames have to keep variables where debuggers find them.
    pub fn is_debugged(&self) -> bool {
        self.tunables.debug_info && !self.debug_sections.is_empty()
    }
}

struct Translator<'data> {
    module: Module,
    types: ModuleTypes,
    functions: PrimaryMap<FuncIndex, FunctionFacts>,
    bodies: PrimaryMap<DefinedFuncIndex, FunctionBodyData<'data>>,
    types_of: TypeConverter,
    function_names: Vec<(FuncIndex, &'data str)>,
    branch_hints: BranchHints,
    data: Vec<SegmentData<'data>>,
    debug_sections: Vec<(&'data str, &'data [u8])>,
}

/// A data segment before its bytes are placed.
enum SegmentData<'data> {
    Active(MemoryIndex, ConstExpr, &'data [u8]),
    Passive(&'data [u8]),
}

impl<'data> Translator<'data> {
    fn payload(
        &mut self,
        payload: Payload<'data>,
        validator: &Validator,
    ) -> Result<(), CompileError> {
        match payload {
            Payload::Version { encoding, .. } if encoding != Encoding::Module => {
                return Err(CompileError::Unsupported(
                    "a component where a core module is expected".to_string(),
                ));
            }
            Payload::TypeSection(_) => {
                let types = validator.types(0).expect("inside of a module");
                self.types_of.intern_all(types, &mut self.types)?;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.import(import?)?;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.function(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    let ty = self.types_of.table(table.ty, &self.types)?;
                    self.module.tables.push(ty);
                    let initial = match table.init {
                        TableInit::RefNull => TableInitialValue::Null {
                            precomputed: Box::new([]),
                        },
                        TableInit::Expr(expr) => TableInitialValue::Expr(self.const_expr(expr)?),
                    };
                    self.module.table_initial_values.push(initial);
                }
            }
            Payload::MemorySection(section) => {
                for ty in section {
                    self.module.memories.push(memory(ty?));
                }
            }
            Payload::TagSection(section) => {
                for tag in section {
                    let signature = self.type_at(tag?.func_type_idx);
                    self.module.tags.push(Tag {
                        signature: TypeRef::Module(signature),
                    });
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    let ty = self.global_type(global.ty)?;
                    self.module.globals.push(ty);
                    let init = self.const_expr(global.init_expr)?;
                    self.module.global_initializers.push(init);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let index = self.external_index(export.kind, export.index)?;
                    if let EntityIndex::Function(func) = index {
                        self.escape(func);
                    }
                    self.module.exports.push(Export {
                        name: export.name.to_string(),
                        index,
                    });
                }
                self.module.index_exports();
            }
            Payload::StartSection { func, .. } => {
                let func = FuncIndex::from_u32(func);
                self.escape(func);
                self.module.start = Some(func);
            }
            Payload::ElementSection(section) => {
                for element in section {
                    self.element(element?)?;
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    self.data(data?)?;
                }
            }
            Payload::CodeSectionStart {
                unchecked_range, ..
            } => {
                self.module.code_section_offset = unchecked_range.start;
            }
            Payload::CustomSection(section) => self.custom_section(section),
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'data>) -> Result<(), CompileError> {
        use wasmparser::TypeRef as T;
        let (index, ty) = match import.ty {
            T::Func(ty) | T::FuncExact(ty) => {
                let func = self.function(ty);
                self.module.num_imported_functions += 1;
                let signature = self.functions[func].signature;
                (
                    EntityIndex::Function(func),
                    EntityType::Function(TypeRef::Module(signature)),
                )
            }
            T::Table(ty) => {
                let ty = self.types_of.table(ty, &self.types)?;
                self.module.num_imported_tables += 1;
                let index = self.module.tables.push(ty);
                (EntityIndex::Table(index), EntityType::Table(ty))
            }
            T::Memory(ty) => {
                let ty = memory(ty);
                self.module.num_imported_memories += 1;
                let index = self.module.memories.push(ty);
                (EntityIndex::Memory(index), EntityType::Memory(ty))
            }
            T::Global(ty) => {
                let ty = self.global_type(ty)?;
                self.module.num_imported_globals += 1;
                let index = self.module.globals.push(ty);
                (EntityIndex::Global(index), EntityType::Global(ty))
            }
            T::Tag(ty) => {
                let signature = self.type_at(ty.func_type_idx);
                let tag = Tag {
                    signature: TypeRef::Module(signature),
                };
                self.module.num_imported_tags += 1;
                let index = self.module.tags.push(tag);
                (EntityIndex::Tag(index), EntityType::Tag(tag))
            }
        };
        self.module.imports.push(Import {
            module: import.module.to_string(),
            field: import.name.to_string(),
            index,
            ty,
        });
        Ok(())
    }

    fn function(&mut self, ty: u32) -> FuncIndex {
        self.module.num_functions += 1;
        self.functions.push(FunctionFacts {
            signature: self.type_at(ty),
            func_ref: None,
        })
    }

    /// Gives a defined function a slot for its `VMFuncRef`.
    fn escape(&mut self, func: FuncIndex) {
        let facts = &mut self.functions[func];
        if !self.module.is_imported_function(func) && facts.func_ref.is_none() {
            facts.func_ref = Some(FuncRefIndex::from_u32(self.module.num_escaped_funcs as u32));
            self.module.num_escaped_funcs += 1;
        }
    }

    fn type_at(&self, index: u32) -> ModuleTypeIndex {
        self.types.by_index[TypeIndex::from_u32(index)]
    }

    fn global_type(&self, ty: wasmparser::GlobalType) -> Result<Global, CompileError> {
        Ok(Global {
            wasm_ty: self.types_of.val_type(ty.content_type, &self.types)?,
            mutability: ty.mutable,
        })
    }

    fn external_index(
        &self,
        kind: wasmparser::ExternalKind,
        index: u32,
    ) -> Result<EntityIndex, CompileError> {
        use wasmparser::ExternalKind as K;
        Ok(match kind {
            K::Func | K::FuncExact => EntityIndex::Function(FuncIndex::from_u32(index)),
            K::Table => EntityIndex::Table(TableIndex::from_u32(index)),
            K::Memory => EntityIndex::Memory(MemoryIndex::from_u32(index)),
            K::Global => EntityIndex::Global(GlobalIndex::from_u32(index)),
            K::Tag => EntityIndex::Tag(TagIndex::from_u32(index)),
        })
    }

    fn const_expr(
        &mut self,
        expr: wasmparser::ConstExpr<'data>,
    ) -> Result<ConstExpr, CompileError> {
        let mut ops = SmallVec::new();
        for op in expr.get_operators_reader() {
            ops.push(match op? {
                Operator::I32Const { value } => ConstOp::I32Const(value),
                Operator::I64Const { value } => ConstOp::I64Const(value),
                Operator::F32Const { value } => ConstOp::F32Const(value.bits()),
                Operator::F64Const { value } => ConstOp::F64Const(value.bits()),
                Operator::V128Const { value } => {
                    ConstOp::V128Const(u128::from_le_bytes(*value.bytes()))
                }
                Operator::GlobalGet { global_index } => {
                    ConstOp::GlobalGet(GlobalIndex::from_u32(global_index))
                }
                Operator::RefNull { hty } => {
                    ConstOp::RefNull(self.types_of.heap_type(hty, &self.types)?)
                }
                Operator::RefFunc { function_index } => {
                    let func = FuncIndex::from_u32(function_index);
                    self.escape(func);
                    ConstOp::RefFunc(func)
                }
                Operator::I32Add => ConstOp::I32Add,
                Operator::I32Sub => ConstOp::I32Sub,
                Operator::I32Mul => ConstOp::I32Mul,
                Operator::I64Add => ConstOp::I64Add,
                Operator::I64Sub => ConstOp::I64Sub,
                Operator::I64Mul => ConstOp::I64Mul,
                Operator::RefI31 => ConstOp::RefI31,
                Operator::StructNew { struct_type_index } => {
                    ConstOp::StructNew(self.type_at(struct_type_index))
                }
                Operator::StructNewDefault { struct_type_index } => {
                    ConstOp::StructNewDefault(self.type_at(struct_type_index))
                }
                Operator::ArrayNew { array_type_index } => {
                    ConstOp::ArrayNew(self.type_at(array_type_index))
                }
                Operator::ArrayNewDefault { array_type_index } => {
                    ConstOp::ArrayNewDefault(self.type_at(array_type_index))
                }
                Operator::ArrayNewFixed {
                    array_type_index,
                    array_size,
                } => ConstOp::ArrayNewFixed(self.type_at(array_type_index), array_size),
                Operator::AnyConvertExtern | Operator::ExternConvertAny => ConstOp::ConvertExtern,
                Operator::End => break,
                other => {
                    return Err(CompileError::Unsupported(format!(
                        "{other:?} in a constant expression"
                    )));
                }
            });
        }
        Ok(ConstExpr { ops })
    }

    fn element(&mut self, element: Element<'data>) -> Result<(), CompileError> {
        let segment = match element.items {
            ElementItems::Functions(functions) => {
                let mut list = Vec::with_capacity(functions.count().min(1 << 16) as usize);
                for func in functions {
                    let func = FuncIndex::from_u32(func?);
                    self.escape(func);
                    list.push(func);
                }
                ElementSegment::Functions(list.into())
            }
            ElementItems::Expressions(ty, expressions) => {
                let ty = self.types_of.ref_type(ty, &self.types)?;
                let mut list = Vec::with_capacity(expressions.count().min(1 << 16) as usize);
                for expr in expressions {
                    list.push(self.const_expr(expr?)?);
                }
                ElementSegment::Expressions(crate::WasmValType::Ref(ty), list.into())
            }
        };
        let passive = match element.kind {
            ElementKind::Active {
                table_index,
                offset_expr,
            } => {
                let offset = self.const_expr(offset_expr)?;
                self.module.table_segments.push(TableSegment {
                    table: TableIndex::from_u32(table_index.unwrap_or(0)),
                    offset,
                    elements: segment,
                });
                None
            }
            ElementKind::Passive => Some(segment),
            ElementKind::Declared => None,
        };
        self.module.passive_elements.push(passive);
        Ok(())
    }

    fn data(&mut self, data: Data<'data>) -> Result<(), CompileError> {
        let segment = match data.kind {
            DataKind::Passive => SegmentData::Passive(data.data),
            DataKind::Active {
                memory_index,
                offset_expr,
            } => {
                let offset = self.const_expr(offset_expr)?;
                SegmentData::Active(MemoryIndex::from_u32(memory_index), offset, data.data)
            }
        };
        self.data.push(segment);
        Ok(())
    }

    /// Reads names and branch hints, and finds DWARF; malformed sections of these are ignored, as
    /// the specification asks.
    fn custom_section(&mut self, section: CustomSectionReader<'data>) {
        if section.name().starts_with(".debug_") {
            self.debug_sections.push((section.name(), section.data()));
            return;
        }
        let names = match section.as_known() {
            KnownCustom::Name(names) => names,
            KnownCustom::BranchHints(hints) => {
                self.branch_hints.read(hints, &self.module);
                return;
            }
            _ => return,
        };
        for name in names {
            match name {
                Ok(Name::Module { name, .. }) => self.module.name = Some(name.to_string()),
                Ok(Name::Function(map)) => {
                    for naming in map {
                        let Ok(naming) = naming else { return };
                        if (naming.index as usize) < self.module.num_functions {
                            let func = FuncIndex::from_u32(naming.index);
                            self.function_names.push((func, naming.name));
                        }
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn finish(
        mut self,
        wasm_types: wasmparser::types::Types,
        tunables: &Tunables,
    ) -> Result<ModuleTranslation<'data>, CompileError> {
        self.module.needs_gc_heap = self.needs_gc_heap();
        if self.module.needs_gc_heap && tunables.collector.is_none() {
            return Err(CompileError::Unsupported(
                "objects of the GC heap in an engine without a garbage collector".to_string(),
            ));
        }
        self.function_names.sort_by_key(|(index, _)| *index);
        self.function_names.dedup_by_key(|(index, _)| *index);
        let data = self.place_data(tunables)?;
        table_image::precompute(&mut self.module);
        Ok(ModuleTranslation {
            module: self.module,
            types: self.types,
            functions: self.functions,
            bodies: self.bodies,
            type_converter: self.types_of,
            wasm_types,
            tunables: tunables.clone(),
            function_names: self.function_names,
            branch_hints: self.branch_hints,
            inlining: InliningPlan::default(),
            dispatch_tables: PrimaryMap::new(),
            data,
            debug_sections: self.debug_sections,
            package_sections: Vec::new(),
            keep_debug_sections: true,
        })
    }

    /// Whether code of the module can make objects.
    fn needs_gc_heap(&self) -> bool {
        let mut types = self.types.types.values();
        types.any(|ty| ty.as_func().is_none()) || !self.module.tags.is_empty()
    }

    /// Lays out the data section: images or active segments, then passive segments.
    fn place_data(&mut self, tunables: &Tunables) -> Result<DataSection<'data>, CompileError> {
        let mut section = DataSection::default();
        let active: Vec<_> = self
            .data
            .iter()
            .filter_map(|segment| match segment {
                SegmentData::Active(memory, offset, data) => Some((*memory, offset, *data)),
                SegmentData::Passive(_) => None,
            })
            .collect();
        let images = memory_image::build(&self.module, &active, tunables, &mut section)?;
        self.module.memory_initialization = match images {
            Some(images) => MemoryInitialization::Static(images),
            None => {
                let mut segments = Vec::with_capacity(active.len());
                for (memory, offset, data) in active {
                    segments.push(DataSegment {
                        memory,
                        offset: offset.clone(),
                        data: section.push(data)?,
                    });
                }
                MemoryInitialization::Segmented(segments)
            }
        };
        for segment in &self.data {
            let passive = match segment {
                SegmentData::Active(..) => None,
                SegmentData::Passive(data) => Some(section.push(*data)?),
            };
            self.module.passive_data.push(passive);
        }
        Ok(section)
    }
}
