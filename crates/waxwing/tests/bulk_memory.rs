//! `memory.copy` and `memory.fill`, with lengths that are constants in the code and with others.

use waxwing::*;

/// The bytes of the memory that the tests work on: its end.
const END: usize = 0x1_0000;
const LENGTHS: [usize; 22] = [
    0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000,
];

fn module(index: &str) -> String {
    let fixed: String = LENGTHS
        .iter()
        .map(|len| {
            format!(
                r#"(func (export "copy {len}") (param $dst {index}) (param $src {index})
                     (memory.copy (local.get $dst) (local.get $src) ({index}.const {len})))
                   (func (export "fill {len}") (param $dst {index}) (param $value i32)
                     (memory.fill (local.get $dst) (local.get $value) ({index}.const {len})))
                   (func (export "fill {len} with a constant") (param $dst {index})
                     (memory.fill (local.get $dst) (i32.const 0x1a5) ({index}.const {len})))"#
            )
        })
        .collect();
    format!(
        r#"(module
             (memory (export "memory") {index} 1 1)
             (func (export "copy") (param $dst {index}) (param $src {index}) (param $len {index})
               (memory.copy (local.get $dst) (local.get $src) (local.get $len)))
             (func (export "fill") (param $dst {index}) (param $value i32) (param $len {index})
               (memory.fill (local.get $dst) (local.get $value) (local.get $len)))
             {fixed})"#
    )
}

struct Guest {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    is_64: bool,
    /// What the memory has to hold.
    model: Vec<u8>,
}

impl Guest {
    fn new(engine: &Engine, index: &str) -> Result<Guest> {
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1);
        // Only where it is counted is there any.
        store.set_fuel(u64::MAX).ok();
        let module = Module::new(engine, module(index))?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let model: Vec<u8> = (0..END).map(|i| (i * 7 + i / 256) as u8).collect();
        memory.write(&mut store, 0, &model)?;
        Ok(Guest {
            store,
            instance,
            memory,
            is_64: index == "i64",
            model,
        })
    }

    fn index(&self, value: usize) -> Val {
        match self.is_64 {
            true => Val::I64(value as i64),
            false => Val::I32(value as i32),
        }
    }

    /// Calls a function, which has to trap if its ranges are out of bounds, and not else.
    fn call(&mut self, name: &str, args: &[Val], in_bounds: bool) -> Result<()> {
        let func = self.instance.get_func(&mut self.store, name).unwrap();
        let result = func.call(&mut self.store, args, &mut []);
        match in_bounds {
            true => result?,
            false => {
                let trap = result.unwrap_err().downcast::<Trap>()?;
                assert_eq!(trap, Trap::MemoryOutOfBounds, "{name} {args:?}");
            }
        }
        assert!(
            self.memory.data(&self.store) == self.model,
            "{name} {args:?}"
        );
        Ok(())
    }

    fn copy(&mut self, dst: usize, src: usize, len: usize) -> Result<()> {
        let in_bounds = dst + len <= END && src + len <= END;
        if in_bounds {
            self.model.copy_within(src..src + len, dst);
        }
        let [to, from, size] = [dst, src, len].map(|value| self.index(value));
        self.call(&format!("copy {len}"), &[to, from], in_bounds)?;
        // The same again, for the other way.
        if in_bounds {
            self.model.copy_within(src..src + len, dst);
        }
        self.call("copy", &[to, from, size], in_bounds)
    }

    fn fill(&mut self, dst: usize, len: usize) -> Result<()> {
        let in_bounds = dst + len <= END;
        for (name, value) in [("fill", 0x37), ("", 0xa5), ("fill", 0xf1)] {
            if in_bounds {
                self.model[dst..dst + len].fill(value);
            }
            let [to, size] = [dst, len].map(|value| self.index(value));
            // Only the lowest byte counts.
            let value = Val::I32(i32::from(value) | 0x7700);
            match name {
                "" => {
                    let name = format!("fill {len} with a constant");
                    self.call(&name, &[to], in_bounds)?;
                }
                _ => {
                    self.call(&format!("fill {len}"), &[to, value], in_bounds)?;
                    self.call("fill", &[to, value, size], in_bounds)?;
                }
            }
        }
        Ok(())
    }
}

fn check(config: &Config) -> Result<()> {
    let engine = Engine::new(config)?;
    for index in ["i32", "i64"] {
        let mut guest = Guest::new(&engine, index)?;
        for len in LENGTHS {
            for (dst, src) in [
                (100, 3000),
                (3000, 100),
                (500, 500 + len / 2),
                (500 + len / 2, 500),
                (0, END - len),
                (END - len, 0),
                (0, END - len + 1),
                (END - len + 1, 0),
                (END, 0),
                (END + 1, 0),
                (0, END + 1),
                (0xffff_ffff, 5),
            ] {
                guest.copy(dst, src, len)?;
            }
            for dst in [50, END - len, END - len + 1, END, END + 1, 0xffff_fff0] {
                guest.fill(dst, len)?;
            }
        }
        if index == "i64" {
            let far = Val::I64(-5);
            let ten = Val::I64(10);
            guest.call("copy", &[far, ten, ten], false)?;
            guest.call("copy", &[ten, far, ten], false)?;
            guest.call("copy", &[ten, ten, far], false)?;
            guest.call("fill", &[far, Val::I32(1), ten], false)?;
            guest.call("fill", &[ten, Val::I32(1), far], false)?;
            guest.call("copy 9", &[far, ten], false)?;
            guest.call("fill 9", &[far, Val::I32(1)], false)?;
        }
    }
    Ok(())
}

fn config() -> Config {
    let mut config = Config::new();
    config.wasm_memory64(true);
    config
}

#[test]
fn by_guard_pages() -> Result<()> {
    check(&config())
}

#[test]
fn by_comparisons() -> Result<()> {
    check(config().memory_reservation(0).memory_guard_size(0))
}

#[test]
fn without_signals() -> Result<()> {
    check(config().signals_based_traps(false))
}

#[test]
fn optimized() -> Result<()> {
    check(config().cranelift_opt_level(OptLevel::Speed))
}

#[test]
fn with_epochs() -> Result<()> {
    check(config().epoch_interruption(true))
}

#[test]
fn with_fuel() -> Result<()> {
    check(config().consume_fuel(true))
}
