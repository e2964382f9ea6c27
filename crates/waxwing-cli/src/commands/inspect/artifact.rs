use super::{Export, Import, Report, Resources};
use std::path::Path;
use waxwing::{
    ExternType, FuncType, GlobalType, MemoryType, Module, Mutability, TableType, ValType,
};

/// The page size of memories whose type does not say another.
const DEFAULT_PAGE_SIZE: u64 = 64 << 10;

/// What the loaded artifact says about the module that it was made from.
pub fn inspect(file: &Path, module: &Module) -> Report {
    let image = module.image_range();
    let resources = module.resources_required();
    Report {
        file: file.display().to_string(),
        kind: "artifact",
        size: (image.end as usize).saturating_sub(image.start as usize) as u64,
        name: module.name().map(str::to_string),
        imports: module
            .imports()
            .map(|import| Import {
                module: import.module().to_string(),
                name: import.name().to_string(),
                ty: describe(&import.ty()),
            })
            .collect(),
        exports: module
            .exports()
            .map(|export| Export {
                name: export.name().to_string(),
                ty: describe(&export.ty()),
            })
            .collect(),
        resources: Some(Resources {
            memories: resources.num_memories,
            tables: resources.num_tables,
            largest_initial_memory: resources.max_initial_memory_size,
            largest_initial_table: resources.max_initial_table_size,
        }),
        ..Report::default()
    }
}

fn describe(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(ty) => format!("func {}", function(ty)),
        ExternType::Global(ty) => format!("global {}", global(ty)),
        ExternType::Table(ty) => format!("table {}", table(ty)),
        ExternType::Memory(ty) => format!("memory {}", memory(ty)),
        ExternType::Tag(ty) => format!("tag {}", function(ty.ty())),
    }
}

fn function(ty: &FuncType) -> String {
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        let types: Vec<String> = types.map(|ty| ty.to_string()).collect();
        format!("({})", types.join(", "))
    };
    format!("{} -> {}", list(&mut ty.params()), list(&mut ty.results()))
}

fn global(ty: &GlobalType) -> String {
    match ty.mutability() {
        Mutability::Var => format!("(mut {})", ty.content()),
        Mutability::Const => ty.content().to_string(),
    }
}

fn table(ty: &TableType) -> String {
    format!(
        "{} {}",
        super::types::limits(ty.is_64(), ty.minimum(), ty.maximum()),
        ty.element()
    )
}

fn memory(ty: &MemoryType) -> String {
    let mut text = super::types::limits(ty.is_64(), ty.minimum(), ty.maximum());
    if ty.is_shared() {
        text += " shared";
    }
    if ty.page_size() != DEFAULT_PAGE_SIZE {
        text += &format!(" (pagesize {})", ty.page_size());
    }
    text
}
