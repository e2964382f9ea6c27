//! Integers of 128 bits in halves.

use waxwing::*;

fn halves(value: u128) -> (u64, u64) {
    (value as u64, (value >> 64) as u64)
}

#[test]
fn instructions_compute_what_128_bit_integers_do() -> Result<()> {
    let values = [
        0,
        1,
        2,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        0xffff_ffff_ffff_ffff,
        0x0123_4567_89ab_cdef,
    ];
    for level in [OptLevel::None, OptLevel::Speed] {
        let mut config = Config::new();
        config.wasm_wide_arithmetic(true).cranelift_opt_level(level);
        let engine = Engine::new(&config)?;
        let module = Module::new(
            &engine,
            r#"(module
                (func (export "add") (param i64 i64 i64 i64) (result i64 i64)
                    (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
                (func (export "sub") (param i64 i64 i64 i64) (result i64 i64)
                    (i64.sub128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
                (func (export "mul_u") (param i64 i64) (result i64 i64)
                    (i64.mul_wide_u (local.get 0) (local.get 1)))
                (func (export "mul_s") (param i64 i64) (result i64 i64)
                    (i64.mul_wide_s (local.get 0) (local.get 1))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        type Four = (u64, u64, u64, u64);
        let add = instance.get_typed_func::<Four, (u64, u64)>(&mut store, "add")?;
        let sub = instance.get_typed_func::<Four, (u64, u64)>(&mut store, "sub")?;
        let mul_u = instance.get_typed_func::<(u64, u64), (u64, u64)>(&mut store, "mul_u")?;
        let mul_s = instance.get_typed_func::<(u64, u64), (u64, u64)>(&mut store, "mul_s")?;
        for a in values {
            for b in values {
                let product = u128::from(a) * u128::from(b);
                assert_eq!(mul_u.call(&mut store, (a, b))?, halves(product));
                let product = i128::from(a.cast_signed()) * i128::from(b.cast_signed());
                let product = product.cast_unsigned();
                assert_eq!(mul_s.call(&mut store, (a, b))?, halves(product));
                for c in values {
                    let x = u128::from(a) | u128::from(b) << 64;
                    let y = u128::from(c) | u128::from(a ^ b) << 64;
                    let (args, more) = (halves(x), halves(y));
                    let args = (args.0, args.1, more.0, more.1);
                    assert_eq!(add.call(&mut store, args)?, halves(x.wrapping_add(y)));
                    assert_eq!(sub.call(&mut store, args)?, halves(x.wrapping_sub(y)));
                }
            }
        }
    }
    Ok(())
}
