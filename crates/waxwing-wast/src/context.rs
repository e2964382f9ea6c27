//! Runs the directives of a script.

use crate::messages;
use crate::report::{Failure, Outcome, Report};
use crate::spectest::{self, SpectestOutput};
use crate::values;
use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use std::collections::HashMap;
use std::thread::{Scope, ScopedJoinHandle};
use wast::core::WastRetCore;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::{Id, Span};
use wast::{
    QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, WastThread, Wat,
};
use waxwing::{Engine, Extern, Instance, Linker, Module, Store, Trap, Val};

/// A store with the `spectest` module in which scripts run.
///
/// Instances, registered modules and definitions last as long as the context:
/// a second script sees those of the first.
pub struct WastContext {
    engine: Engine,
    output: SpectestOutput,
    store: Store<()>,
    linker: Linker<()>,
    /// The instance that directives without a module name refer to.
    current: Option<Instance>,
    instances: HashMap<String, Instance>,
    /// The definition that `module instance` without a name refers to.
    last_definition: Option<Module>,
    definitions: HashMap<String, Module>,
}

/// How far a directive came.
enum Ran {
    Done,
    Skipped(&'static str),
}

const COMPONENTS: &str = "components are not supported";

impl WastContext {
    /// A context that compiles and runs with `engine`, and prints what the
    /// `spectest` module is asked to print to `output`.
    ///
    /// # Errors
    ///
    /// Fails if the engine cannot create the table or memory of the `spectest`
    /// module.
    pub fn new(engine: &Engine, output: SpectestOutput) -> Result<WastContext> {
        let mut store = Store::new(engine, ());
        // Where the engine interrupts code, scripts take the time that they need.
        store.set_epoch_deadline(u64::MAX);
        // An error says that nothing consumes fuel.
        let _ = store.set_fuel(u64::MAX);
        let mut linker = Linker::new(engine);
        // Scripts register different instances under one name.
        linker.allow_shadowing(true);
        spectest::define(&mut linker, &mut store, output)
            .context("failed to define the `spectest` module")?;
        Ok(WastContext {
            engine: engine.clone(),
            output,
            store,
            linker,
            current: None,
            instances: HashMap::new(),
            last_definition: None,
            definitions: HashMap::new(),
        })
    }

    /// Runs the script `text` and adds what happened to `report`.
    ///
    /// `name` is what failures call the script, usually its path. A script that
    /// does not parse is one failure; a directive that fails does not keep the
    /// following ones from running.
    pub fn run_wast(&mut self, name: &str, text: &str, report: &mut Report) {
        report.files += 1;
        let mut lexer = Lexer::new(text);
        // Scripts about names contain look-alikes and direction marks on purpose.
        lexer.allow_confusing_unicode(true);
        let unparsed = |error: wast::Error, report: &mut Report| {
            let failure = failure_at(name, text, error.span(), error.message());
            report.record(false, Outcome::Failed(failure));
        };
        let buffer = match ParseBuffer::new_with_lexer(lexer) {
            Ok(buffer) => buffer,
            Err(error) => return unparsed(error, report),
        };
        let script = match parser::parse::<Wast<'_>>(&buffer) {
            Ok(script) => script,
            Err(error) => return unparsed(error, report),
        };
        std::thread::scope(|scope| {
            let source = Source { name, text };
            Script {
                context: self,
                scope,
                source,
                threads: HashMap::new(),
            }
            .run(script.directives, report)
        });
    }

    fn instance(&self, name: Option<Id<'_>>) -> Result<Instance> {
        match name {
            Some(id) => self
                .instances
                .get(id.name())
                .copied()
                .ok_or_else(|| anyhow!("no instance is called `${}`", id.name())),
            None => self.current.context("no module has been instantiated"),
        }
    }

    fn compile(&self, wat: &mut QuoteWat<'_>) -> Result<Module> {
        let bytes = wat.encode().map_err(|e| anyhow!("{}", e.message()))?;
        Module::new(&self.engine, bytes)
    }

    fn instantiate(&mut self, module: &Module) -> Result<Instance> {
        self.linker.instantiate(&mut self.store, module)
    }

    /// Makes `instance` the current one, under `name` too if it has one.
    fn enter(&mut self, name: Option<Id<'_>>, instance: Instance) {
        self.current = Some(instance);
        if let Some(id) = name {
            self.instances.insert(id.name().to_string(), instance);
        }
    }

    fn define(&mut self, name: Option<Id<'_>>, module: Module) {
        if let Some(id) = name {
            self.definitions
                .insert(id.name().to_string(), module.clone());
        }
        self.last_definition = Some(module);
    }

    fn definition(&self, name: Option<Id<'_>>) -> Result<Module> {
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

    /// Passes if the text parser or the engine rejects the module.
    fn must_be_rejected(&self, wat: &mut QuoteWat<'_>, message: &str) -> Result<()> {
        let Ok(bytes) = wat.encode() else {
            return Ok(());
        };
        ensure!(
            Module::validate(&self.engine, &bytes).is_err(),
            "the module validates, but must be rejected: {message}"
        );
        ensure!(
            Module::new(&self.engine, &bytes).is_err(),
            "the module compiles though it does not validate: {message}"
        );
        Ok(())
    }

    /// Runs what the directive asks for. The outer error is the script's, the
    /// inner one what the engine reported.
    fn execute(&mut self, what: WastExecute<'_>) -> Result<Result<Vec<Val>>> {
        match what {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Wat(wat) => {
                let name = match &wat {
                    Wat::Module(module) => module.id,
                    Wat::Component(_) => bail!(COMPONENTS),
                };
                let module = self.compile(&mut QuoteWat::Wat(wat))?;
                Ok(self.instantiate(&module).map(|instance| {
                    self.enter(name, instance);
                    Vec::new()
                }))
            }
            WastExecute::Get { module, global, .. } => {
                match self.instance(module)?.get_export(&mut self.store, global) {
                    Some(Extern::Global(global)) => Ok(Ok(vec![global.get(&mut self.store)])),
                    Some(_) => bail!("the export `{global}` is not a global"),
                    None => bail!("the instance has no export `{global}`"),
                }
            }
        }
    }

    fn invoke(&mut self, invoke: WastInvoke<'_>) -> Result<Result<Vec<Val>>> {
        let func = self
            .instance(invoke.module)?
            .get_func(&mut self.store, invoke.name)
            .ok_or_else(|| anyhow!("the instance exports no function `{}`", invoke.name))?;
        let mut args = Vec::with_capacity(invoke.args.len());
        for arg in &invoke.args {
            let WastArg::Core(arg) = arg else {
                bail!("an argument is a component's value");
            };
            args.push(values::argument(&mut self.store, arg)?);
        }
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        Ok(func
            .call(&mut self.store, &args, &mut results)
            .map(|()| results))
    }

    fn check_results(&self, actual: &[Val], expected: &[WastRet<'_>]) -> Result<()> {
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
                values::matches(&self.store, actual, expected)?,
                "result {index}: expected {}, found {}",
                values::describe_pattern(expected),
                values::describe(actual)
            );
        }
        Ok(())
    }
}

/// The text of a script, for the places in messages.
#[derive(Clone, Copy)]
struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

fn failure_at(file: &str, text: &str, span: Span, message: String) -> Failure {
    let (line, column) = span.linecol_in(text);
    Failure {
        file: file.to_string(),
        line: line + 1,
        column: column + 1,
        message,
    }
}

/// One run of a script, or of the part of it in a `thread` directive.
struct Script<'context, 'scope, 'env, 'a> {
    context: &'context mut WastContext,
    scope: &'scope Scope<'scope, 'env>,
    source: Source<'a>,
    threads: HashMap<&'a str, ScopedJoinHandle<'scope, Result<Report>>>,
}

impl<'scope, 'a: 'scope> Script<'_, 'scope, '_, 'a> {
    fn run(mut self, directives: Vec<WastDirective<'a>>, report: &mut Report) {
        for directive in directives {
            let span = directive.span();
            let is_assertion = is_assertion(&directive);
            let at = |message| failure_at(self.source.name, self.source.text, span, message);
            let outcome = match self.directive(directive, report) {
                Ok(Ran::Done) => Outcome::Passed,
                Ok(Ran::Skipped(reason)) => Outcome::Skipped(at(reason.to_string())),
                Err(error) => Outcome::Failed(at(format!("{error:#}"))),
            };
            report.record(is_assertion, outcome);
        }
        // Threads that the script does not wait for still count.
        for (name, thread) in self.threads {
            let at = |message| {
                Outcome::Failed(Failure {
                    file: self.source.name.to_string(),
                    line: 1,
                    column: 1,
                    message,
                })
            };
            match join(thread) {
                Ok(others) => report.merge(others),
                Err(error) => report.record(false, at(format!("thread `${name}`: {error:#}"))),
            }
        }
    }

    fn directive(&mut self, directive: WastDirective<'a>, report: &mut Report) -> Result<Ran> {
        if mentions_component(&directive) {
            return Ok(Ran::Skipped(COMPONENTS));
        }
        let context = &mut *self.context;
        match directive {
            WastDirective::Module(mut wat) => {
                // Should it fail, the directives that follow must not run on the one before.
                context.current = None;
                let module = context.compile(&mut wat)?;
                context.define(wat.name(), module.clone());
                let instance = context.instantiate(&module)?;
                context.enter(wat.name(), instance);
            }
            WastDirective::ModuleDefinition(mut wat) => {
                let module = context.compile(&mut wat)?;
                context.define(wat.name(), module);
            }
            WastDirective::ModuleInstance {
                instance: name,
                module,
                ..
            } => {
                context.current = None;
                let module = context.definition(module)?;
                let instance = context.instantiate(&module)?;
                context.enter(name, instance);
            }
            WastDirective::Register { name, module, .. } => {
                let instance = context.instance(module)?;
                context
                    .linker
                    .instance(&mut context.store, name, instance)?;
            }
            WastDirective::Invoke(invoke) => {
                context.invoke(invoke)??;
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let actual = context.execute(exec)??;
                context.check_results(&actual, &results)?;
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                must_trap(context.execute(exec)?, message)?;
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                must_trap(context.invoke(call)?, message)?;
            }
            WastDirective::AssertSuspension { exec, message, .. } => {
                must_trap(context.execute(exec)?, message)?;
            }
            WastDirective::AssertException { exec, .. } => match context.execute(exec)? {
                Err(error) if error.is::<Trap>() => {
                    return Err(error.context("expected an exception, found a trap"));
                }
                Err(_) => {}
                Ok(values) => bail!("expected an exception, found {}", describe_all(&values)),
            },
            WastDirective::AssertInvalid {
                mut module,
                message,
                ..
            }
            | WastDirective::AssertMalformed {
                mut module,
                message,
                ..
            }
            | WastDirective::AssertInvalidCustom {
                mut module,
                message,
                ..
            }
            | WastDirective::AssertMalformedCustom {
                mut module,
                message,
                ..
            } => {
                context.must_be_rejected(&mut module, message)?;
            }
            WastDirective::AssertUnlinkable {
                module, message, ..
            } => {
                let module = context.compile(&mut QuoteWat::Wat(module))?;
                match context.instantiate(&module) {
                    Ok(_) => bail!("the module links, but must not: {message}"),
                    Err(error) if messages::is_link_error(&error, message) => {}
                    Err(error) => return Err(wrong_error(error, message)),
                }
            }
            WastDirective::Thread(thread) => self.spawn(thread)?,
            WastDirective::Wait { thread, .. } => {
                let handle = self
                    .threads
                    .remove(thread.name())
                    .ok_or_else(|| anyhow!("no thread is called `${}`", thread.name()))?;
                report.merge(join(handle)?);
            }
        }
        Ok(Ran::Done)
    }

    /// Starts a thread with a store of its own.
    fn spawn(&mut self, thread: WastThread<'a>) -> Result<()> {
        if let Some(id) = thread.shared_module {
            bail!(
                "`${}` cannot be shared: the engine has no shared memories",
                id.name()
            );
        }
        let source = self.source;
        let engine = self.context.engine.clone();
        let output = self.context.output;
        let scope = self.scope;
        let handle = scope.spawn(move || {
            let mut context = WastContext::new(&engine, output)?;
            let mut report = Report::default();
            Script {
                context: &mut context,
                scope,
                source,
                threads: HashMap::new(),
            }
            .run(thread.directives, &mut report);
            Ok(report)
        });
        self.threads.insert(thread.name.name(), handle);
        Ok(())
    }
}

fn join(thread: ScopedJoinHandle<'_, Result<Report>>) -> Result<Report> {
    match thread.join() {
        Ok(report) => report,
        Err(_) => bail!("the thread panicked"),
    }
}

fn must_trap(outcome: Result<Vec<Val>>, message: &str) -> Result<()> {
    match outcome {
        Ok(values) => bail!(
            "expected a trap ({message}), found {}",
            describe_all(&values)
        ),
        Err(error) if messages::is_trap(&error, message) => Ok(()),
        Err(error) => Err(wrong_error(error, message)),
    }
}

fn wrong_error(error: Error, expected: &str) -> Error {
    error.context(format!("expected the error `{expected}`, found another"))
}

fn describe_all(values: &[Val]) -> String {
    let values: Vec<String> = values.iter().map(values::describe).collect();
    format!("[{}]", values.join(", "))
}

fn is_assertion(directive: &WastDirective<'_>) -> bool {
    match directive {
        WastDirective::AssertMalformed { .. }
        | WastDirective::AssertInvalid { .. }
        | WastDirective::AssertInvalidCustom { .. }
        | WastDirective::AssertMalformedCustom { .. }
        | WastDirective::AssertTrap { .. }
        | WastDirective::AssertReturn { .. }
        | WastDirective::AssertExhaustion { .. }
        | WastDirective::AssertUnlinkable { .. }
        | WastDirective::AssertException { .. }
        | WastDirective::AssertSuspension { .. } => true,
        WastDirective::Module(_)
        | WastDirective::ModuleDefinition(_)
        | WastDirective::ModuleInstance { .. }
        | WastDirective::Register { .. }
        | WastDirective::Invoke(_)
        | WastDirective::Thread(_)
        | WastDirective::Wait { .. } => false,
    }
}

fn mentions_component(directive: &WastDirective<'_>) -> bool {
    let quote = |wat: &QuoteWat<'_>| {
        matches!(
            wat,
            QuoteWat::QuoteComponent(..) | QuoteWat::Wat(Wat::Component(_))
        )
    };
    match directive {
        WastDirective::Module(wat) | WastDirective::ModuleDefinition(wat) => quote(wat),
        WastDirective::AssertMalformed { module, .. }
        | WastDirective::AssertInvalid { module, .. }
        | WastDirective::AssertInvalidCustom { module, .. }
        | WastDirective::AssertMalformedCustom { module, .. } => quote(module),
        WastDirective::AssertUnlinkable { module, .. } => matches!(module, Wat::Component(_)),
        WastDirective::AssertTrap { exec, .. }
        | WastDirective::AssertReturn { exec, .. }
        | WastDirective::AssertException { exec, .. }
        | WastDirective::AssertSuspension { exec, .. } => {
            matches!(exec, WastExecute::Wat(Wat::Component(_)))
        }
        _ => false,
    }
}
