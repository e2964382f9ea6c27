//! Instantiates modules and calls into them.

use super::profile::{self, Profile};
use super::{Job, Preload};
use crate::{output, values};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use waxwing::{
    Engine, ExternType, Func, FuncType, GuestProfiler, Instance, Linker, Module, Store,
    StoreLimits, Trap, Val, WasmCoreDump,
};
use waxwing_wasi::I32Exit;
use waxwing_wasi::preview1::{self, WasiP1Ctx};

/// The exit code of a guest that trapped: what a shell shows for a process
/// that ended by SIGABRT.
const TRAPPED: u8 = 134;

/// What host functions work on.
pub struct Host {
    pub wasi: Option<WasiP1Ctx>,
    pub limits: StoreLimits,
    /// What looks at the guest; not in here while it looks.
    pub profiler: Option<GuestProfiler>,
}

impl Host {
    pub fn new(wasi: Option<WasiP1Ctx>, limits: StoreLimits) -> Host {
        Host {
            wasi,
            limits,
            profiler: None,
        }
    }
}

/// How a call into the guest ended when it did not return.
enum Ended {
    /// The guest asked to exit.
    Exited(ExitCode),
    /// It trapped, or a host function that it called failed.
    Trapped(Error),
}

/// Compiles, instantiates and runs what `job` says.
///
/// # Errors
///
/// Fails for what goes wrong before the guest runs. The rest is in the exit
/// code, with traps reported on the standard error.
pub fn run(engine: &Engine, job: Job, host: Host) -> Result<ExitCode> {
    let Job {
        file,
        source,
        arguments,
        preloads,
        invoke,
        allow_precompiled,
        fuel,
        timeout,
        coredump,
        profile,
    } = job;
    let module = source.into_module(engine, &file, allow_precompiled)?;
    let preloads = preloads
        .into_iter()
        .map(|Preload { name, file, source }| {
            let module = source.into_module(engine, &file, allow_precompiled)?;
            Ok((name, file, module))
        })
        .collect::<Result<Vec<_>>>()?;
    // The process ends when the guest has, and what it had is gone at once. Freeing it piece by piece takes longer.
    let mut linker = ManuallyDrop::new(Linker::new(engine));
    let imports = module.imports().len() > 0 || !preloads.is_empty();
    if imports && host.wasi.is_some() {
        preview1::add_to_linker_sync(&mut linker, |host: &mut Host| {
            host.wasi
                .as_mut()
                .expect("WASI is linked only where there is a context")
        })?;
    }
    let mut store = ManuallyDrop::new(Store::new(engine, host));
    store.limiter(|host| &mut host.limits);
    if let Some(fuel) = fuel {
        store.set_fuel(fuel)?;
    }
    store.set_epoch_deadline(match timeout {
        Some(_) => 1,
        None => u64::MAX,
    });
    if let Some(timeout) = timeout {
        end_epoch_after(engine, timeout)?;
    }
    let guest_profile = match profile {
        Some(Profile::Guest(profile)) => Some(profile),
        _ => None,
    };
    let profile = match &guest_profile {
        Some(profile) => {
            let others = preloads.iter();
            let others = others.map(|(_, file, module)| (profile::name(file), module.clone()));
            let modules = std::iter::once((profile::name(&file), module.clone())).chain(others);
            Some(profile.start(engine, &mut store, &file, modules.collect(), timeout)?)
        }
        None => None,
    };
    let program = Program {
        file,
        module,
        preloads,
        arguments,
        invoke,
        coredump,
    };
    let ended = program.run(&mut store, &mut linker);
    if let Some(profile) = profile {
        profile.finish(&mut store)?;
    }
    ended
}

/// Modules, and what is called.
struct Program {
    file: PathBuf,
    module: Module,
    /// By the names that others import from.
    preloads: Vec<(String, PathBuf, Module)>,
    arguments: Vec<String>,
    invoke: Option<String>,
    /// Where a core dump is to be written.
    coredump: Option<String>,
}

impl Program {
    fn run(self, store: &mut Store<Host>, linker: &mut Linker<Host>) -> Result<ExitCode> {
        let Program {
            file,
            module,
            preloads,
            arguments,
            invoke,
            coredump,
        } = self;
        for (name, file, module) in preloads {
            let instance = match instantiate(store, linker, &module, &file)? {
                Ok(instance) => instance,
                Err(ended) => return finish(store, ended, &file, coredump.as_deref()),
            };
            if let Some(ended) = initialize(store, instance)? {
                return finish(store, ended, &file, coredump.as_deref());
            }
            linker
                .instance(&mut *store, &name, instance)
                .with_context(|| format!("failed to offer `{}` as `{name}`", file.display()))?;
        }

        let entry = Entry::find(&module, invoke.as_deref(), &file)?;
        // Before the guest runs, so that mistakes in the arguments have no effects.
        let values = entry.arguments(&module, &arguments, &file)?;

        let instance = match instantiate(store, linker, &module, &file)? {
            Ok(instance) => instance,
            Err(ended) => return finish(store, ended, &file, coredump.as_deref()),
        };
        if entry.needs_initialization()
            && let Some(ended) = initialize(store, instance)?
        {
            return finish(store, ended, &file, coredump.as_deref());
        }
        if let Some(name) = entry.function() {
            let func = instance
                .get_func(&mut *store, name)
                .with_context(|| format!("`{}` exports no function `{name}`", file.display()))?;
            match call(store, func, &values) {
                Ok(results) => {
                    for value in &results {
                        output::print(values::format(value) + "\n")?;
                    }
                }
                Err(ended) => return finish(store, ended, &file, coredump.as_deref()),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Increments the epoch once, after a time.
fn end_epoch_after(engine: &Engine, time: Duration) -> Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("timeout".into())
        .spawn(move || {
            std::thread::sleep(time);
            if let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
            }
        })
        .context("failed to start a thread for `-W timeout`")?;
    Ok(())
}

/// What is called once the module is instantiated.
enum Entry<'a> {
    /// A command's `_start`.
    Command(&'a str),
    /// A function that was asked for by name.
    Function(&'a str),
    /// Nothing: a reactor, or a module whose start function is all there is.
    None,
}

impl<'a> Entry<'a> {
    fn find(module: &Module, invoke: Option<&'a str>, file: &Path) -> Result<Entry<'a>> {
        let is_function = |name: &str| matches!(module.get_export(name), Some(ExternType::Func(_)));
        if let Some(name) = invoke {
            ensure!(
                is_function(name),
                "`{}` exports no function `{name}`; {}",
                file.display(),
                exported_functions(module)
            );
            return Ok(Entry::Function(name));
        }
        // The empty name is the older way to mark what a module runs.
        for name in ["_start", ""] {
            if is_function(name) {
                return Ok(Entry::Command(name));
            }
        }
        let has_functions = module
            .exports()
            .any(|e| matches!(e.ty(), ExternType::Func(_)));
        if has_functions && !is_function("_initialize") {
            bail!(
                "`{}` exports no `_start` function to run; choose one with `--invoke NAME`: {}",
                file.display(),
                exported_functions(module)
            );
        }
        Ok(Entry::None)
    }

    fn function(&self) -> Option<&'a str> {
        match *self {
            Entry::Command(name) | Entry::Function(name) => Some(name),
            Entry::None => None,
        }
    }

    /// Commands initialize themselves.
    fn needs_initialization(&self) -> bool {
        !matches!(self, Entry::Command(_) | Entry::Function("_initialize"))
    }

    /// The values to call the function with.
    fn arguments(&self, module: &Module, texts: &[String], file: &Path) -> Result<Vec<Val>> {
        let Some(ExternType::Func(ty)) = self.function().and_then(|name| module.get_export(name))
        else {
            return Ok(Vec::new());
        };
        match self {
            Entry::Function(name) => parse_arguments(name, &ty, texts),
            _ => {
                ensure!(
                    ty.params().len() == 0,
                    "the `_start` function of `{}` must not take parameters, but takes {}",
                    file.display(),
                    signature(&ty)
                );
                Ok(Vec::new())
            }
        }
    }
}

fn parse_arguments(name: &str, ty: &FuncType, texts: &[String]) -> Result<Vec<Val>> {
    ensure!(
        texts.len() == ty.params().len(),
        "`{name}` takes {} arguments {}, but {} were given",
        ty.params().len(),
        signature(ty),
        texts.len()
    );
    ty.params()
        .zip(texts)
        .enumerate()
        .map(|(index, (ty, text))| {
            values::parse(text, &ty)
                .with_context(|| format!("argument {} of `{name}`: `{text}` is no {ty}", index + 1))
        })
        .collect()
}

fn signature(ty: &FuncType) -> String {
    let params: Vec<String> = ty.params().map(|ty| ty.to_string()).collect();
    format!("({})", params.join(", "))
}

fn exported_functions(module: &Module) -> String {
    let names: Vec<String> = module
        .exports()
        .filter(|export| matches!(export.ty(), ExternType::Func(_)))
        .map(|export| format!("`{}`", export.name()))
        .collect();
    if names.is_empty() {
        "it exports no functions".into()
    } else {
        format!("it exports {}", names.join(", "))
    }
}

fn instantiate(
    store: &mut Store<Host>,
    linker: &Linker<Host>,
    module: &Module,
    file: &Path,
) -> Result<Result<Instance, Ended>> {
    match linker.instantiate(store, module) {
        Ok(instance) => Ok(Ok(instance)),
        // The start function ran, or a segment did not fit.
        Err(error) if error.is::<I32Exit>() || error.is::<Trap>() => Ok(Err(Ended::from(error))),
        Err(error) => Err(error.context(format!("failed to instantiate `{}`", file.display()))),
    }
}

/// Calls `_initialize` if there is one; reactors must be initialized once,
/// before anything else of theirs is called.
fn initialize(store: &mut Store<Host>, instance: Instance) -> Result<Option<Ended>> {
    let Some(func) = instance.get_func(&mut *store, "_initialize") else {
        return Ok(None);
    };
    let ty = func.ty(&*store);
    if ty.params().len() + ty.results().len() != 0 {
        return Err(anyhow!("`_initialize` must have no parameters or results"));
    }
    Ok(call(store, func, &[]).err())
}

fn call(store: &mut Store<Host>, func: Func, arguments: &[Val]) -> Result<Vec<Val>, Ended> {
    let mut results = vec![Val::I32(0); func.ty(&*store).results().len()];
    func.call(store, arguments, &mut results)?;
    Ok(results)
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ended::Exited(exit.process_exit_code()),
            None => Ended::Trapped(error),
        }
    }
}

fn finish(
    store: &mut Store<Host>,
    ended: Ended,
    file: &Path,
    coredump: Option<&str>,
) -> Result<ExitCode> {
    match ended {
        Ended::Exited(code) => Ok(code),
        Ended::Trapped(error) => {
            let written = match (coredump, error.downcast_ref::<WasmCoreDump>()) {
                (Some(path), Some(dump)) => write_dump(store, dump, file, path),
                _ => Ok(()),
            };
            output::error(&error.context(format!("failed to run `{}`", file.display())));
            if let Err(error) = written {
                output::error(&error);
            }
            Ok(ExitCode::from(TRAPPED))
        }
    }
}

/// Writes a core dump to the file that `-D coredump` names.
fn write_dump(store: &mut Store<Host>, dump: &WasmCoreDump, file: &Path, path: &str) -> Result<()> {
    let path = path.replace("%p", &std::process::id().to_string());
    let bytes = dump.serialize(store, &file.to_string_lossy());
    std::fs::write(&path, bytes).with_context(|| format!("failed to write the core dump `{path}`"))
}
