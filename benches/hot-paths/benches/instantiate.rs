//! Making instances, each in a store of its own, and loading artifacts.

use criterion::{BenchmarkId, Criterion};
use waxwing::{Engine, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig, Store};
use waxwing_hot_paths::{LUA, SMALL, config, criterion, guest, module};

fn main() {
    let mut criterion = criterion();
    instances(&mut criterion);
    artifacts(&mut criterion);
    criterion.final_summary();
}

fn instances(criterion: &mut Criterion) {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(16)
        .total_memories(16)
        .total_tables(16)
        .max_memory_size(32 << 20)
        .table_elements(1000);
    let mut pooling = config();
    pooling.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    for (strategy, config) in [("on demand", config()), ("pooling", pooling)] {
        let mut group = criterion.benchmark_group(format!("instantiate/{strategy}"));
        let engine = Engine::new(&config).expect("this host has the address space");
        for (image, name) in [(0, "no image"), (1 << 16, "64 KiB"), (1 << 20, "1 MiB")] {
            let module = module(&engine, &guest(image));
            let linker = Linker::new(&engine);
            let instance = linker.instantiate_pre(&module).expect("it has no imports");
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| {
                    let mut store = Store::new(&engine, ());
                    instance.instantiate(&mut store).expect("there is room")
                });
            });
        }
    }
}

fn artifacts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    let engine = Engine::new(&config()).expect("these settings suit any host");
    let lua = Module::new(&engine, LUA).expect("it is valid");
    let (small, text) = SMALL[0];
    for (name, module) in [(small, module(&engine, text)), ("lua", lua)] {
        let path = std::env::temp_dir().join(format!("hot-paths-{}.cwasm", std::process::id()));
        let artifact = module.serialize().expect("it was compiled");
        std::fs::write(&path, artifact).expect("the folder for temporary files is there");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                // SAFETY: the engine made the file, and nobody changes it.
                let module = unsafe { Module::deserialize_file(&engine, &path) };
                module.expect("it is an artifact of this engine")
            });
        });
        std::fs::remove_file(&path).expect("it was written");
    }
}
