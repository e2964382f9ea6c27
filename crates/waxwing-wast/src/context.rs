//! What scripts run in: a store, and what has been defined in it.

use crate::messages;
use crate::report::Report;
use crate::script;
use crate::spectest::{self, SpectestOutput};
use crate::values;
use crate::wait::wait;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::collections::HashMap;
use wast::core::WastRetCore;
use wast::token::Id;
use wast::{QuoteWat, WastArg, WastExecute, WastInvoke, WastRet, Wat};
use waxwing::{
    AsContextMut, Engine, Extern, Instance, Linker, Module, RootScope, SharedMemory, Store,
    ThrownException, Val,
};

/// The store in which a directive runs. References that it makes are rooted until it is done, so
/// that the collector sees scripts as it sees programs.
pub(crate) type Scope<'a> = RootScope<&'a mut Store<()>>;

/// The units of fuel after which code of an asynchronous store is suspended.
const YIELD_INTERVAL: u64 = 50;

pub(crate) const COMPONENTS: &str = "components are not supported";

/// A store with the `spectest` module in which scripts run.
///
/// Instances, registered modules and definitions last as long as the context:
/// a second script sees those of the first.
pub struct WastContext {
    store: Store<()>,
    world: World,
}

/// What scripts have defined.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) output: SpectestOutput,
    linker: Linker<()>,
    /// The instance that directives without a module name refer to.
    current: Option<Instance>,
    instances: HashMap<String, Instance>,
    /// The definition that `module instance` without a name refers to.
    last_definition: Option<Module>,
    definitions: HashMap<String, Module>,
    /// By the name of an instance in another store, what of it can be used in this one.
    shared: HashMap<String, Vec<(String, SharedMemory)>>,
}

/// What the store of a thread shares with that of the script which started it.
pub(crate) struct Shared {
    /// What modules can import, by the names of module and item.
    registered: Vec<(String, String, SharedMemory)>,
    /// The exports of instances that the thread can register, by the instances' names.
    instances: HashMap<String, Vec<(String, SharedMemory)>>,
}

impl WastContext {
    /// A context that compiles and runs with `engine`, and prints what the
    /// `spectest` module is asked to print to `output`.
    ///
    /// # Errors
    ///
    /// Fails if the engine cannot create the tables or memories of the `spectest`
    /// module.
    pub fn new(engine: &Engine, output: SpectestOutput) -> Result<WastContext> {
        let mut store = Store::new(engine, ());
        // Where the engine interrupts code, scripts take the time that they need.
        store.set_epoch_deadline(u64::MAX);
        // An error says that nothing consumes fuel.
        let _ = store.set_fuel(u64::MAX);
        // Another one, that fuel is not what makes code wait.
        let _ = store.fuel_async_yield_interval(Some(YIELD_INTERVAL));
        let mut linker = Linker::new(engine);
        // Scripts register different instances under one name.
        linker.allow_shadowing(true);
        spectest::define(&mut linker, &mut store, output)
            .context("failed to define the `spectest` module")?;
        Ok(WastContext {
            store,
            world: World {
                engine: engine.clone(),
                output,
                linker,
                current: None,
                instances: HashMap::new(),
                last_definition: None,
                definitions: HashMap::new(),
                shared: HashMap::new(),
            },
        })
    }

    /// A context for a thread, with what it shares with others.
    pub(crate) fn with_shared(
        engine: &Engine,
        output: SpectestOutput,
        shared: Shared,
    ) -> Result<WastContext> {
        let mut context = WastContext::new(engine, output)?;
        let WastContext { store, world } = &mut context;
        for (module, name, memory) in shared.registered {
            world.linker.define(&mut *store, &module, &name, memory)?;
        }
        world.shared = shared.instances;
        Ok(context)
    }

    /// Runs the script `text` and adds what happened to `report`.
    ///
    /// `name` is what failures call the script, usually its path. A script that
    /// does not parse is one failure; a directive that fails does not keep the
    /// following ones from running.
    pub fn run_wast(&mut self, name: &str, text: &str, report: &mut Report) {
        script::run(self, name, text, report);
    }

    /// What the context has, with the store open for one directive.
    pub(crate) fn enter(&mut self) -> (Scope<'_>, &mut World) {
        (RootScope::new(&mut self.store), &mut self.world)
    }
}

impl World {
    pub(crate) fn instance(&self, name: Option<Id<'_>>) -> Result<Instance> {
        match name {
            Some(id) => self
                .instances
                .get(id.name())
                .copied()
                .ok_or_else(|| anyhow!("no instance is called `${}`", id.name())),
            None => self.current.context("no module has been instantiated"),
        }
    }

    pub(crate) fn compile(&self, wat: &mut QuoteWat<'_>) -> Result<Module> {
        let bytes = wat.encode().map_err(|e| anyhow!("{}", e.message()))?;
        Module::new(&self.engine, bytes)
    }

    pub(crate) fn instantiate(&self, store: &mut Scope<'_>, module: &Module) -> Result<Instance> {
        match self.engine.is_async() {
            true => wait(self.linker.instantiate_async(store, module)),
            false => self.linker.instantiate(store, module),
        }
    }

    /// Makes `instance` the current one, under `name` too if it has one.
    pub(crate) fn enter(&mut self, name: Option<Id<'_>>, instance: Instance) {
        self.current = Some(instance);
        if let Some(id) = name {
            self.instances.insert(id.name().to_string(), instance);
        }
    }

    /// Leaves no instance for directives without a module name.
    pub(crate) fn leave(&mut self) {
        self.current = None;
    }

    pub(crate) fn define(&mut self, name: Option<Id<'_>>, module: Module) {
        if let Some(id) = name {
            self.definitions
                .insert(id.name().to_string(), module.clone());
        }
        self.last_definition = Some(module);
    }

    pub(crate) fn definition(&self, name: Option<Id<'_>>) -> Result<Module> {
        match name {
            Some(id) => self
                .definitions
                .get(id.name())
                .cloned()
                .ok_or_else(|| anyhow!("no module is called `${}`", id.name())),
            None => self
                .last_definition
                .clone()
                .context("no module has been defined"),
        }
    }

    /// Lets modules import what the instance `module` exports from `name`.
    pub(crate) fn register(
        &mut self,
        store: &mut Scope<'_>,
        name: &str,
        module: Option<Id<'_>>,
    ) -> Result<()> {
        if let Some(id) = module
            && !self.instances.contains_key(id.name())
            && let Some(shared) = self.shared.get(id.name())
        {
            for (item, memory) in shared {
                self.linker
                    .define(&mut *store, name, item, memory.clone())?;
            }
            return Ok(());
        }
        let instance = self.instance(module)?;
        self.linker.instance(store, name, instance)?;
        Ok(())
    }

    /// What a thread shares with this script, which names the instance `module` for it.
    pub(crate) fn shared(&self, store: &mut Scope<'_>, module: Option<Id<'_>>) -> Result<Shared> {
        let registered = self
            .linker
            .iter(&mut *store)
            .filter_map(|(module, name, item)| {
                let memory = item.into_shared_memory()?;
                Some((module.to_string(), name.to_string(), memory))
            })
            .collect();
        let mut instances = self.shared.clone();
        if let Some(id) = module
            && (self.instances.contains_key(id.name()) || !instances.contains_key(id.name()))
        {
            let exports = self
                .instance(module)?
                .exports(store.as_context_mut())
                .filter_map(|export| {
                    let name = export.name().to_string();
                    Some((name, export.into_shared_memory()?))
                })
                .collect();
            instances.insert(id.name().to_string(), exports);
        }
        Ok(Shared {
            registered,
            instances,
        })
    }

    /// Whether the text parser or the engine rejects the module, as `message` says it must.
    ///
    /// # Errors
    ///
    /// Fails if the engine compiles what does not validate.
    pub(crate) fn is_rejected(&self, wat: &mut QuoteWat<'_>, message: &str) -> Result<bool> {
        let Ok(bytes) = wat.encode() else {
            return Ok(true);
        };
        if Module::validate(&self.engine, &bytes).is_ok() {
            return Ok(false);
        }
        ensure!(
            Module::new(&self.engine, &bytes).is_err(),
            "the module compiles though it does not validate: {message}"
        );
        Ok(true)
    }

    /// Runs what the directive asks for. The outer error is the script's, the
    /// inner one what the engine reported.
    pub(crate) fn execute(
        &mut self,
        store: &mut Scope<'_>,
        what: WastExecute<'_>,
    ) -> Result<Result<Vec<Val>>> {
        match what {
            WastExecute::Invoke(invoke) => self.invoke(store, invoke),
            WastExecute::Wat(wat) => {
                let name = match &wat {
                    Wat::Module(module) => module.id,
                    Wat::Component(_) => bail!(COMPONENTS),
                };
                let module = self.compile(&mut QuoteWat::Wat(wat))?;
                Ok(self.instantiate(store, &module).map(|instance| {
                    self.enter(name, instance);
                    Vec::new()
                }))
            }
            WastExecute::Get { module, global, .. } => {
                match self.instance(module)?.get_export(&mut *store, global) {
                    Some(Extern::Global(global)) => Ok(Ok(vec![global.get(store)])),
                    Some(_) => bail!("the export `{global}` is not a global"),
                    None => bail!("the instance has no export `{global}`"),
                }
            }
        }
    }

    pub(crate) fn invoke(
        &self,
        store: &mut Scope<'_>,
        invoke: WastInvoke<'_>,
    ) -> Result<Result<Vec<Val>>> {
        let func = self
            .instance(invoke.module)?
            .get_func(&mut *store, invoke.name)
            .ok_or_else(|| anyhow!("the instance exports no function `{}`", invoke.name))?;
        let mut args = Vec::with_capacity(invoke.args.len());
        for arg in &invoke.args {
            let WastArg::Core(arg) = arg else {
                bail!("an argument is a component's value");
            };
            args.push(values::argument(store, arg)?);
        }
        let mut results = vec![Val::I32(0); func.ty(&*store).results().len()];
        let outcome = match self.engine.is_async() {
            true => wait(func.call_async(&mut *store, &args, &mut results)),
            false => func.call(&mut *store, &args, &mut results),
        };
        if let Err(error) = &outcome
            && error.is::<ThrownException>()
        {
            // Whether it was expected or not, the next call has nothing to do with it.
            store.as_context_mut().take_pending_exception();
        }
        Ok(outcome.map(|()| results))
    }
}

/// Fails if `actual` is not what the patterns `expected` describe.
pub(crate) fn check_results(
    store: &mut Scope<'_>,
    actual: &[Val],
    expected: &[WastRet<'_>],
) -> Result<()> {
    ensure!(
        actual.len() == expected.len(),
        "expected {} results, found {}",
        expected.len(),
        actual.len()
    );
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let expected: &WastRetCore<'_> = match expected {
            WastRet::Core(expected) => expected,
            _ => bail!("result {index} is a component's value"),
        };
        ensure!(
            values::matches(store, actual, expected)?,
            "result {index}: expected {}, found {}",
            values::describe_pattern(expected),
            values::describe(store, actual)
        );
    }
    Ok(())
}

/// Fails unless `outcome` is a trap that a script may call `message`.
pub(crate) fn must_trap(
    store: &mut Scope<'_>,
    outcome: Result<Vec<Val>>,
    message: &str,
) -> Result<()> {
    match outcome {
        Ok(values) => bail!(
            "expected a trap ({message}), found {}",
            values::describe_all(store, &values)
        ),
        Err(error) if messages::is_trap(&error, message) => Ok(()),
        Err(error) => Err(messages::wrong_error(error, message)),
    }
}
