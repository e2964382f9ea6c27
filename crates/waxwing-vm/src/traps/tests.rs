//! Traps of hand-written code that follows the contract of generated code.

use std::arch::naked_asm;
use std::cell::RefCell;
use std::mem::offset_of;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use waxwing_environ::Trap;

use super::*;
use crate::backtrace::RawFrame;
use crate::code_memory::CodeMemory;
use crate::code_memory::tests::artifact;
use crate::store_context::VMStoreContext;

type Host = unsafe extern "C" fn(*const VMStoreContext) -> bool;

/// An entry trampoline: calls `function(store, host, data, wasm_to_host)`.
#[unsafe(naked)]
unsafe extern "C" fn host_to_wasm(
    _store: *const VMStoreContext,
    _host: Host,
    _data: usize,
    _wasm_to_host: usize,
    _function: usize,
) -> bool {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rdi + {entry_fp}], rbp",
        "mov [rdi + {entry_sp}], rsp",
        "lea rax, [rip + 2f]",
        "mov [rdi + {handler}], rax",
        "call r8",
        "mov eax, 1",
        "jmp 3f",
        "2:",
        "xor eax, eax",
        "3:",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        entry_fp = const offset_of!(VMStoreContext, last_wasm_entry_fp),
        entry_sp = const offset_of!(VMStoreContext, last_wasm_entry_sp),
        handler = const offset_of!(VMStoreContext, last_wasm_entry_trap_handler),
    )
}

/// An exit trampoline: calls `host(store)`, and raises what was recorded if it returns `false`.
#[unsafe(naked)]
unsafe extern "C" fn wasm_to_host(_store: *const VMStoreContext, _host: Host) {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov [rdi + {exit_fp}], rbp",
        "call rsi",
        "test al, al",
        "jz 2f",
        "pop rbp",
        "ret",
        "2:",
        "call {raise}",
        "ud2",
        exit_fp = const offset_of!(VMStoreContext, last_wasm_exit_fp),
        raise = sym raise_builtin,
    )
}

unsafe extern "C" fn raise_builtin() -> ! {
    // SAFETY: the exit trampoline calls it after a host function recorded a reason.
    unsafe { Landing::of_entry().go() }
}

/// Offsets into the text of [`Program::new`].
#[derive(Clone, Copy)]
enum Function {
    /// Returns.
    Nop,
    /// Overwrites the registers that callers want preserved and executes `ud2`.
    Unreachable,
    /// Loads from the address `data`.
    Load,
    /// Divides by zero.
    Divide,
    /// Calls the host.
    Call,
    /// Calls `Call`.
    CallCall,
    /// Calls itself until the stack limit is reached.
    Recurse,
    /// Executes `ud2` that no trap table knows.
    Crash,
}

struct Program {
    code: Arc<CodeMemory>,
    starts: Vec<u32>,
    traps: Vec<(u32, Trap)>,
    _handlers: ProcessHandlers,
}

impl Program {
    fn new() -> Program {
        const PROLOGUE: &[u8] = &[0x55, 0x48, 0x89, 0xe5];
        const EPILOGUE: &[u8] = &[0x5d, 0xc3];
        /// A body, and where in it which trap is.
        type Body = (&'static [u8], Option<(u32, Trap)>);
        let bodies: [Body; 8] = [
            (&[], None),
            (
                // xor ebx, ebx; xor r12, r12; xor r13, r13; xor r14, r14; xor r15, r15; ud2
                &[
                    0x31, 0xdb, 0x4d, 0x31, 0xe4, 0x4d, 0x31, 0xed, 0x4d, 0x31, 0xf6, 0x4d, 0x31,
                    0xff, 0x0f, 0x0b,
                ],
                Some((14, Trap::UnreachableCodeReached)),
            ),
            // mov rax, [rdx]
            (&[0x48, 0x8b, 0x02], Some((0, Trap::MemoryOutOfBounds))),
            // xor ecx, ecx; xor eax, eax; cdq; idiv ecx
            (
                &[0x31, 0xc9, 0x31, 0xc0, 0x99, 0xf7, 0xf9],
                Some((5, Trap::IntegerDivisionByZero)),
            ),
            // call rcx
            (&[0xff, 0xd1], None),
            // call Call
            (&[0xe8, 0xef, 0xff, 0xff, 0xff], None),
            // cmp rsp, [rdi]; ja +2; ud2; call Recurse
            (
                &[
                    0x48, 0x3b, 0x27, 0x77, 0x02, 0x0f, 0x0b, 0xe8, 0xf0, 0xff, 0xff, 0xff,
                ],
                Some((5, Trap::StackOverflow)),
            ),
            (&[0x0f, 0x0b], None),
        ];
        let mut text = Vec::new();
        let mut starts = Vec::new();
        let mut traps = Vec::new();
        for (body, trap) in bodies {
            starts.push(text.len() as u32);
            text.extend_from_slice(PROLOGUE);
            traps.extend(trap.map(|(at, trap)| (text.len() as u32 + at, trap)));
            text.extend_from_slice(body);
            text.extend_from_slice(EPILOGUE);
        }
        let code = CodeMemory::from_bytes(&artifact(&text, &traps)).unwrap();
        Program {
            // SAFETY: the code follows the contract that this module describes.
            code: unsafe { code.publish(false) }.unwrap(),
            starts,
            traps,
            _handlers: ProcessHandlers::install().unwrap(),
        }
    }

    fn address(&self, function: Function) -> usize {
        self.code.text_range().start + self.starts[function as usize] as usize
    }

    /// Whether `pc` lies in the code of `function`.
    fn is_in(&self, pc: usize, function: Function) -> bool {
        let start = self.address(function);
        let end = match self.starts.get(function as usize + 1) {
            Some(&next) => self.code.text_range().start + next as usize,
            None => self.code.text_range().end,
        };
        (start..end).contains(&pc)
    }

    fn pc_of(&self, trap: Trap) -> usize {
        let entry = self.traps.iter().find(|entry| entry.1 == trap).unwrap();
        self.code.text_range().start + entry.0 as usize
    }

    /// Enters `function`.
    fn run_with(
        &self,
        store: &VMStoreContext,
        options: &EntryOptions,
        function: Function,
        host: Host,
        data: usize,
    ) -> Result<(), Box<UnwindReason>> {
        let exit = wasm_to_host as *const () as usize;
        let function = self.address(function);
        // SAFETY: the store is a local of this thread, and the trampolines follow the contract.
        unsafe {
            enter_wasm(NonNull::from(store), options, || {
                host_to_wasm(store, host, data, exit, function)
            })
        }
    }

    fn run(&self, function: Function, host: Host) -> Result<(), Box<UnwindReason>> {
        self.run_with(&VMStoreContext::default(), &OPTIONS, function, host, 0)
    }
}

const OPTIONS: EntryOptions = EntryOptions {
    max_wasm_stack: 512 * 1024,
    backtraces: true,
};

unsafe extern "C" fn no_host(_: *const VMStoreContext) -> bool {
    true
}

/// The parts of an unwinding that is a fault of generated code.
#[track_caller]
fn signal(result: Result<(), Box<UnwindReason>>) -> (usize, Option<usize>, Trap, Vec<RawFrame>) {
    match *result.unwrap_err() {
        UnwindReason::Trap {
            reason:
                TrapReason::Signal {
                    pc,
                    faulting_addr,
                    trap,
                },
            backtrace,
        } => (
            pc,
            faulting_addr,
            trap,
            backtrace.unwrap().frames().to_vec(),
        ),
        other => panic!("{other:?}"),
    }
}

/// The parts of an unwinding that the host caused.
#[track_caller]
fn host_error(result: Result<(), Box<UnwindReason>>) -> (String, Vec<RawFrame>) {
    match *result.unwrap_err() {
        UnwindReason::Trap {
            reason: TrapReason::Host(error),
            backtrace,
        } => (error.to_string(), backtrace.unwrap().frames().to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn faults_become_traps() {
    let program = Program::new();
    let store = VMStoreContext::default();
    // More than once, as a signal that stays blocked would end the process the second time.
    for _ in 0..3 {
        program.run(Function::Nop, no_host).unwrap();
        for (function, expected, data) in [
            (Function::Unreachable, Trap::UnreachableCodeReached, None),
            (Function::Load, Trap::MemoryOutOfBounds, Some(0x10)),
            (Function::Divide, Trap::IntegerDivisionByZero, None),
        ] {
            let data_address = data.unwrap_or(0);
            let result = program.run_with(&store, &OPTIONS, function, no_host, data_address);
            let (pc, faulting_addr, trap, frames) = signal(result);
            assert_eq!((trap, faulting_addr), (expected, data));
            assert_eq!(pc, program.pc_of(trap));
            assert_eq!(
                frames.iter().map(|frame| frame.pc).collect::<Vec<_>>(),
                [pc]
            );
            assert!(activations().next().is_none());
        }
    }
    let good = 7u64;
    let address = &raw const good as usize;
    program
        .run_with(&store, &OPTIONS, Function::Load, no_host, address)
        .unwrap();
}

#[test]
fn backtraces_can_be_switched_off() {
    let program = Program::new();
    let options = EntryOptions {
        backtraces: false,
        ..OPTIONS
    };
    let store = VMStoreContext::default();
    let result = program.run_with(&store, &options, Function::Unreachable, no_host, 0);
    assert!(matches!(
        *result.unwrap_err(),
        UnwindReason::Trap {
            backtrace: None,
            ..
        }
    ));
}

#[test]
fn host_errors_are_raised_with_a_backtrace() {
    unsafe extern "C" fn fail(_: *const VMStoreContext) -> bool {
        catch_host(|| Err::<(), _>(anyhow::anyhow!("no such thing"))).is_some()
    }
    let program = Program::new();
    let (message, frames) = host_error(program.run(Function::CallCall, fail));
    assert_eq!(message, "no such thing");
    assert_eq!(frames.len(), 2, "{frames:x?}");
    assert!(program.is_in(frames[0].pc, Function::Call));
    assert!(program.is_in(frames[1].pc, Function::CallCall));
    assert!(frames[0].fp < frames[1].fp);
}

#[test]
fn builtins_raise_traps() {
    unsafe extern "C" fn trap(_: *const VMStoreContext) -> bool {
        catch_host(|| Err::<(), _>(Trap::TableOutOfBounds)).is_some()
    }
    let program = Program::new();
    let reason = program.run(Function::Call, trap).unwrap_err();
    assert!(matches!(
        *reason,
        UnwindReason::Trap {
            reason: TrapReason::Wasm(Trap::TableOutOfBounds),
            backtrace: Some(ref backtrace),
        } if backtrace.frames().len() == 1
    ));
}

#[test]
fn panics_are_carried_and_drop_what_the_host_owns() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Owned;
    impl Drop for Owned {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    unsafe extern "C" fn panicking(_: *const VMStoreContext) -> bool {
        catch_host(|| -> Result<(), TrapReason> {
            let _owned = Owned;
            std::panic::resume_unwind(Box::new(42u32))
        })
        .is_some()
    }
    let program = Program::new();
    let UnwindReason::Panic(payload) = *program.run(Function::CallCall, panicking).unwrap_err()
    else {
        panic!("not a panic");
    };
    assert_eq!(payload.downcast_ref(), Some(&42u32));
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
    assert!(activations().next().is_none());
    program.run(Function::Nop, no_host).unwrap();
}

#[test]
fn a_panic_before_the_trampoline_leaves_no_activation() {
    let result = std::panic::catch_unwind(|| {
        let store = VMStoreContext::default();
        // SAFETY: the store is this thread's, and no trampoline is called.
        unsafe {
            enter_wasm(NonNull::from(&store), &OPTIONS, || {
                std::panic::resume_unwind(Box::new(()))
            })
        }
    });
    assert!(result.is_err());
    assert!(activations().next().is_none());
}

#[test]
fn failure_without_wasm_frames_has_an_empty_backtrace() {
    let store = VMStoreContext::default();
    // SAFETY: the store is this thread's, and no trampoline is called.
    let result = unsafe {
        enter_wasm(NonNull::from(&store), &OPTIONS, || {
            catch_host(|| Err::<(), _>(anyhow::anyhow!("early"))).is_some()
        })
    };
    assert_eq!(host_error(result), ("early".to_string(), vec![]));
}

thread_local! {
    /// The program that [`nested`] enters again.
    static PROGRAM: RefCell<Option<Arc<Program>>> = const { RefCell::new(None) };
}

fn program() -> Arc<Program> {
    PROGRAM.with_borrow_mut(|program| {
        Arc::clone(program.get_or_insert_with(|| Arc::new(Program::new())))
    })
}

#[test]
fn activations_nest() {
    /// Enters the same store again, which faults; then another store, which must not be seen in
    /// backtraces; then fails.
    unsafe extern "C" fn nested(store: *const VMStoreContext) -> bool {
        let program = program();
        // SAFETY: the store is the one that the caller entered, on this thread.
        let store = unsafe { &*store };
        let before = (
            store.stack_limit.get(),
            store.last_wasm_exit_fp.get(),
            store.last_wasm_entry_sp.get(),
        );
        let inner = program.run_with(store, &OPTIONS, Function::Unreachable, no_host, 0);
        let (pc, _, trap, frames) = signal(inner);
        assert_eq!(trap, Trap::UnreachableCodeReached);
        assert_eq!(frames.len(), 3, "{frames:x?}");
        assert_eq!(frames[0].pc, pc);
        assert!(program.is_in(frames[1].pc, Function::Call));
        assert!(program.is_in(frames[2].pc, Function::CallCall));
        let after = (
            store.stack_limit.get(),
            store.last_wasm_exit_fp.get(),
            store.last_wasm_entry_sp.get(),
        );
        assert_eq!(before, after);

        unsafe extern "C" fn fail(_: *const VMStoreContext) -> bool {
            catch_host(|| Err::<(), _>(anyhow::anyhow!("inner"))).is_some()
        }
        let (message, frames) = host_error(program.run(Function::Call, fail));
        assert_eq!((message.as_str(), frames.len()), ("inner", 1));
        let (message, frames) =
            host_error(program.run_with(store, &OPTIONS, Function::Call, fail, 0));
        assert_eq!((message.as_str(), frames.len()), ("inner", 3));

        // SAFETY: this thread runs the store.
        assert_eq!(unsafe { RawBacktrace::capture(store) }.frames().len(), 2);
        catch_host(|| Err::<(), _>(anyhow::anyhow!("outer"))).is_some()
    }
    let program = program();
    let store = VMStoreContext::default();
    let result = program.run_with(&store, &OPTIONS, Function::CallCall, nested, 0);
    let (message, frames) = host_error(result);
    assert_eq!((message.as_str(), frames.len()), ("outer", 2));
    assert!(activations().next().is_none());
    // SAFETY: the store is this thread's, and not running.
    assert!(unsafe { RawBacktrace::capture(&store) }.frames().is_empty());
}

#[test]
fn nested_entries_share_one_allowance_unless_on_another_thread() {
    unsafe extern "C" fn nested(store: *const VMStoreContext) -> bool {
        // SAFETY: the store is the one that the caller entered, on this thread.
        let store = unsafe { &*store };
        let outer = store.stack_limit.get();
        let limit = |store: &VMStoreContext| {
            let mut limit = 0;
            // SAFETY: this thread, or the one that it waits for, has exclusive use of the store.
            unsafe {
                enter_wasm(NonNull::from(store), &OPTIONS, || {
                    limit = store.stack_limit.get();
                    true
                })
            }
            .unwrap();
            limit
        };
        assert_eq!(limit(store), outer);
        assert_ne!(limit(&VMStoreContext::default()), outer);

        let address = store as *const VMStoreContext as usize;
        let elsewhere = move || {
            // SAFETY: the thread that runs the store waits for this one.
            let limit = limit(unsafe { &*(address as *const VMStoreContext) });
            let here = &raw const limit as usize;
            assert!(limit < here && here - limit <= OPTIONS.max_wasm_stack + (64 << 10));
        };
        std::thread::spawn(elsewhere).join().unwrap();
        store.stack_limit.get() == outer
    }
    program().run(Function::Call, nested).unwrap();
}

#[test]
fn stack_overflow_is_a_trap_on_threads_of_every_size() {
    for (size, max_wasm_stack) in [
        (16 << 10, 512 << 10),
        (96 << 10, 512 << 10),
        (128 << 10, 1 << 30),
        (512 << 10, 512 << 10),
        (2 << 20, 512 << 10),
        (2 << 20, usize::MAX),
    ] {
        let body = move || {
            let program = Program::new();
            let store = VMStoreContext::default();
            let options = EntryOptions {
                max_wasm_stack,
                backtraces: false,
            };
            let reason = program
                .run_with(&store, &options, Function::Recurse, no_host, 0)
                .unwrap_err();
            assert!(
                matches!(
                    *reason,
                    UnwindReason::Trap {
                        reason: TrapReason::Signal {
                            trap: Trap::StackOverflow,
                            ..
                        },
                        ..
                    }
                ),
                "{reason:?}"
            );
        };
        // The test's own debug build needs more than the smallest of these, so that what is small is
        // what is left of the stack.
        let thread = std::thread::Builder::new().stack_size(size.max(256 << 10));
        thread
            .spawn(move || with_remaining_stack(size, body))
            .unwrap()
            .join()
            .unwrap();
    }
}

/// Runs `body` in a place that has about `bytes` of stack below it.
fn with_remaining_stack(bytes: usize, body: impl FnOnce()) {
    fn descend(bytes: usize, body: &mut dyn FnMut()) {
        let padding = std::hint::black_box([0u8; 2048]);
        let here = padding.as_ptr() as usize;
        let low = crate::sys::thread::stack_bounds().unwrap().start;
        if here - low > bytes.max(80 << 10) {
            descend(bytes, body);
        } else {
            body();
        }
        std::hint::black_box(&padding);
    }
    let mut body = Some(body);
    descend(bytes, &mut || (body.take().expect("called once"))());
}

#[test]
fn deep_backtraces_are_complete() {
    let program = Program::new();
    let store = VMStoreContext::default();
    let (pc, _, trap, frames) =
        signal(program.run_with(&store, &OPTIONS, Function::Recurse, no_host, 0));
    assert_eq!(trap, Trap::StackOverflow);
    // A frame is a return address and a frame pointer. The first and the last ones are not quite within
    // the limit's count.
    let expected = OPTIONS.max_wasm_stack / 16;
    assert!(frames.len().abs_diff(expected) < 256, "{}", frames.len());
    assert_eq!(frames[0].pc, pc);
    assert!(
        frames
            .iter()
            .all(|frame| program.is_in(frame.pc, Function::Recurse))
    );
}

#[test]
fn threads_trap_independently() {
    let program = &Program::new();
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            scope.spawn(move || {
                let store = VMStoreContext::default();
                for i in 0..500 {
                    let address = 0x100 * (thread + 1) + i % 256;
                    let result =
                        program.run_with(&store, &OPTIONS, Function::Load, no_host, address);
                    assert_eq!(signal(result).1, Some(address));
                }
            });
        }
    });
}

#[test]
fn threads_can_be_prepared_early() {
    std::thread::spawn(|| {
        tls_eager_initialize().unwrap();
        let here = 0u8;
        let here = &raw const here as usize;
        let limit = stack_limit_for_entry(4096).unwrap();
        assert!(limit < here && here - limit < 64 << 10);
    })
    .join()
    .unwrap();
}

/// Runs the test `name` again in a process of its own, where it finds `case` in the environment.
fn in_child(name: &str, case: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("traps::tests::{name}"), "--nocapture"])
        .env(CHILD, case)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap()
}

const CHILD: &str = "WAXWING_VM_TEST_CHILD";

#[test]
fn other_signals_go_to_earlier_handlers() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn plain(signal: i32) {
        assert_eq!(signal, libc::SIGFPE);
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    unsafe extern "C" fn detailed(
        signal: i32,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel's pointers are passed on.
        assert_eq!(unsafe { (*info).si_signo }, signal);
        assert!(!context.is_null());
        // SAFETY: asks for the mask alone.
        let blocked = unsafe {
            let mut mask = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
            libc::sigismember(&mask, signal) == 1 && libc::sigismember(&mask, libc::SIGUSR1) == 1
        };
        assert!(blocked);
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    fn set(signal: i32, handler: usize, flags: i32) {
        // SAFETY: the handlers here have the signatures that their flags say.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = flags;
            libc::sigaddset(&mut action.sa_mask, libc::SIGUSR1);
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
        }
    }
    fn send(signal: i32) {
        // SAFETY: raise takes no pointers.
        unsafe { libc::raise(signal) };
    }
    fn read_null() {
        // SAFETY: not at all; the process is meant to die of it.
        unsafe { std::ptr::null::<u8>().add(8).read_volatile() };
    }
    let name = "other_signals_go_to_earlier_handlers";
    match std::env::var(CHILD).as_deref() {
        Ok("handlers") => {
            set(libc::SIGFPE, plain as *const () as usize, 0);
            set(
                libc::SIGILL,
                detailed as *const () as usize,
                libc::SA_SIGINFO,
            );
            set(libc::SIGBUS, libc::SIG_IGN, 0);
            let program = Program::new();
            for _ in 0..2 {
                send(libc::SIGFPE);
                send(libc::SIGILL);
                send(libc::SIGBUS);
                signal(program.run(Function::Divide, no_host));
                signal(program.run(Function::Unreachable, no_host));
            }
            assert_eq!(CALLS.load(Ordering::Relaxed), 4);
            // What remains is to die as the parent expects.
            std::process::exit(77);
        }
        Ok("fault") => {
            let _program = Program::new();
            read_null();
        }
        Ok("fault with default disposition") => {
            set(libc::SIGSEGV, libc::SIG_DFL, 0);
            let _program = Program::new();
            read_null();
        }
        Ok("ignored fault") => {
            set(libc::SIGSEGV, libc::SIG_IGN, 0);
            let _program = Program::new();
            read_null();
        }
        Ok("sent with default disposition") => {
            set(libc::SIGFPE, libc::SIG_DFL, 0);
            let _program = Program::new();
            send(libc::SIGFPE);
        }
        Ok("reset after one call") => {
            set(
                libc::SIGFPE,
                plain as *const () as usize,
                libc::SA_RESETHAND,
            );
            let _program = Program::new();
            send(libc::SIGFPE);
            assert_eq!(CALLS.load(Ordering::Relaxed), 1);
            send(libc::SIGFPE);
        }
        Ok("no trap at this instruction") => {
            let _ = Program::new().run(Function::Crash, no_host);
        }
        Ok("no activation") => {
            let program = Program::new();
            // SAFETY: not at all; the process is meant to die of it.
            let function: extern "C" fn() =
                unsafe { std::mem::transmute(program.address(Function::Unreachable)) };
            function();
        }
        Ok(other) => panic!("{other}"),
        Err(_) => {
            assert_eq!(in_child(name, "handlers").code(), Some(77));
            for (case, signal) in [
                ("fault", libc::SIGSEGV),
                ("fault with default disposition", libc::SIGSEGV),
                ("ignored fault", libc::SIGSEGV),
                ("sent with default disposition", libc::SIGFPE),
                ("reset after one call", libc::SIGFPE),
                ("no trap at this instruction", libc::SIGILL),
                ("no activation", libc::SIGILL),
            ] {
                assert_eq!(in_child(name, case).signal(), Some(signal), "{case}");
            }
        }
    }
}

#[test]
fn handlers_are_shared_and_can_be_unloaded() {
    let current = || {
        // SAFETY: asks for the disposition alone.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGILL, std::ptr::null(), &mut action);
            action.sa_sigaction
        }
    };
    if std::env::var(CHILD).is_ok() {
        let before = current();
        let first = ProcessHandlers::install().unwrap();
        let ours = current();
        let second = ProcessHandlers::install().unwrap();
        // SAFETY: no code of WebAssembly exists.
        let gone = unsafe { first.unload() };
        let ok = !gone && current() == ours && before != ours;
        // SAFETY: as above.
        let gone = unsafe { second.unload() };
        let ok = ok && gone && current() == before;
        // Again, and with a newer handler in front of ours.
        let program = Program::new();
        signal(program.run(Function::Unreachable, no_host));
        drop(program);
        let last = ProcessHandlers::install().unwrap();
        // SAFETY: ignoring is a valid disposition.
        unsafe { libc::signal(libc::SIGFPE, libc::SIG_IGN) };
        // SAFETY: as above.
        let gone = unsafe { last.unload() };
        let ok = ok && !gone && current() == ours;
        std::process::exit(if ok { 77 } else { 1 });
    }
    let name = "handlers_are_shared_and_can_be_unloaded";
    assert_eq!(in_child(name, "unload").code(), Some(77));
}
