//! Instances from a pool: its limits and options, and that nobody sees what others left there.

mod guards;
mod keys;
mod leaks;
mod limits;
mod options;
mod sharing;
#[cfg(feature = "async")]
mod stacks;

use waxwing::*;

/// A pool with `total` of everything, of small slots.
fn small_pool(total: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(total)
        .total_memories(total)
        .total_tables(total)
        .total_gc_heaps(total)
        .max_memory_size(1 << 20)
        .table_elements(1000);
    pool
}

fn engine(pool: PoolingAllocationConfig) -> Engine {
    configured(pool, |_| {})
}

fn configured(pool: PoolingAllocationConfig, configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    config.allocation_strategy(pool);
    configure(&mut config);
    Engine::new(&config).unwrap()
}

/// An instance of a module without imports in a store of its own.
fn instantiate(engine: &Engine, module: &Module) -> Result<(Store<()>, Instance)> {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[])?;
    Ok((store, instance))
}

fn metrics(engine: &Engine) -> PoolingAllocatorMetrics {
    engine.pooling_allocator_metrics().expect("there is a pool")
}

/// The error's chain of messages.
fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => format!("{error:#}"),
    }
}
