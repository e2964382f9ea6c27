//! Runs the directives of a script.

use crate::context::{COMPONENTS, Shared, WastContext, check_results, must_trap};
use crate::messages;
use crate::report::{Failure, Outcome, Report};
use crate::spectest::SpectestOutput;
use crate::values;
use anyhow::{Result, anyhow, bail, ensure};
use std::collections::HashMap;
use std::thread::{Scope, ScopedJoinHandle};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Span;
use wast::{QuoteWat, Wast, WastDirective, WastExecute, WastThread, Wat};
use waxwing::{Engine, ThrownException};

/// Why a directive is not run.
const STACK_SWITCHING: &str = "stack switching is not supported";
/// The specification leaves it to engines whether they look into custom sections.
const CUSTOM_SECTIONS: &str = "the engine does not look into this custom section";

/// How far a directive came.
enum Ran {
    Done,
    Skipped(&'static str),
}

/// Runs the script `text` in `context` and adds what happened to `report`.
pub(crate) fn run(context: &mut WastContext, name: &str, text: &str, report: &mut Report) {
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
            context,
            scope,
            source,
            threads: HashMap::new(),
        }
        .run(script.directives, report)
    });
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
        let (mut store, world) = self.context.enter();
        let store = &mut store;
        match directive {
            WastDirective::Module(mut wat) => {
                // Should it fail, the directives that follow must not run on the one before.
                world.leave();
                let module = world.compile(&mut wat)?;
                world.define(wat.name(), module.clone());
                let instance = world.instantiate(store, &module)?;
                world.enter(wat.name(), instance);
            }
            WastDirective::ModuleDefinition(mut wat) => {
                let module = world.compile(&mut wat)?;
                world.define(wat.name(), module);
            }
            WastDirective::ModuleInstance {
                instance: name,
                module,
                ..
            } => {
                world.leave();
                let module = world.definition(module)?;
                let instance = world.instantiate(store, &module)?;
                world.enter(name, instance);
            }
            WastDirective::Register { name, module, .. } => world.register(store, name, module)?,
            WastDirective::Invoke(invoke) => {
                world.invoke(store, invoke)??;
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let actual = world.execute(store, exec)??;
                check_results(store, &actual, &results)?;
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let outcome = world.execute(store, exec)?;
                must_trap(store, outcome, message)?;
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let outcome = world.invoke(store, call)?;
                must_trap(store, outcome, message)?;
            }
            WastDirective::AssertSuspension { .. } => return Ok(Ran::Skipped(STACK_SWITCHING)),
            WastDirective::AssertException { exec, .. } => match world.execute(store, exec)? {
                Err(error) if error.is::<ThrownException>() => {}
                Err(error) => return Err(error.context("expected an exception")),
                Ok(values) => bail!(
                    "expected an exception, found {}",
                    values::describe_all(store, &values)
                ),
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
            } => ensure!(
                world.is_rejected(&mut module, message)?,
                "the module validates, but must be rejected: {message}"
            ),
            WastDirective::AssertInvalidCustom {
                mut module,
                message,
                ..
            }
            | WastDirective::AssertMalformedCustom {
                mut module,
                message,
                ..
            } => {
                if !world.is_rejected(&mut module, message)? {
                    return Ok(Ran::Skipped(CUSTOM_SECTIONS));
                }
            }
            WastDirective::AssertUnlinkable {
                module, message, ..
            } => {
                let module = world.compile(&mut QuoteWat::Wat(module))?;
                match world.instantiate(store, &module) {
                    Ok(_) => bail!("the module links, but must not: {message}"),
                    Err(error) if messages::is_link_error(&error, message) => {}
                    Err(error) => return Err(messages::wrong_error(error, message)),
                }
            }
            WastDirective::Thread(thread) => {
                let shared = world.shared(store, thread.shared_module)?;
                let setting = (world.engine.clone(), world.output, shared);
                let name = thread.name.name();
                let handle = spawn(self.scope, self.source, setting, thread);
                self.threads.insert(name, handle);
            }
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
}

/// Starts a thread with a store of its own.
fn spawn<'scope, 'a: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    source: Source<'a>,
    (engine, output, shared): (Engine, SpectestOutput, Shared),
    thread: WastThread<'a>,
) -> ScopedJoinHandle<'scope, Result<Report>> {
    scope.spawn(move || {
        let mut context = WastContext::with_shared(&engine, output, shared)?;
        let mut report = Report::default();
        Script {
            context: &mut context,
            scope,
            source,
            threads: HashMap::new(),
        }
        .run(thread.directives, &mut report);
        Ok(report)
    })
}

fn join(thread: ScopedJoinHandle<'_, Result<Report>>) -> Result<Report> {
    match thread.join() {
        Ok(report) => report,
        Err(_) => bail!("the thread panicked"),
    }
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
