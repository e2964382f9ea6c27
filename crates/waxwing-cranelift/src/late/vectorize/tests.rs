use super::{Heap, run};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, ArgumentPurpose, BlockArg, Function, InstBuilder, MemFlagsData, Signature, Type,
    Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_codegen::settings::{Flags, builder};
use cranelift_codegen::verify_function;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use types::{F64, I32, I64};

const HEAP: Heap = Heap {
    base: 32,
    length: 40,
    reach: 1 << 20,
};

/// What is in a loop, in terms of arrays that the function's parameters point to.
struct Body<'a, 'b> {
    b: &'a mut FunctionBuilder<'b>,
    base: Value,
    arrays: [Value; 2],
    counter: Value,
    /// A value from the iteration before.
    carried: Value,
}

impl Body<'_, '_> {
    /// The address of the element that the counter is at, of one of two arrays.
    fn address(&mut self, array: usize) -> Value {
        let index = self.b.ins().iadd(self.arrays[array], self.counter);
        let index = self.b.ins().uextend(I64, index);
        self.b.ins().iadd(self.base, index)
    }

    fn load(&mut self, ty: Type, array: usize, offset: i32) -> Value {
        let address = self.address(array);
        self.b.ins().load(ty, MemFlagsData::new(), address, offset)
    }

    fn load_byte(&mut self, array: usize, offset: i32) -> Value {
        let address = self.address(array);
        self.b
            .ins()
            .uload8(I32, MemFlagsData::new(), address, offset)
    }

    fn store(&mut self, value: Value, array: usize, offset: i32) {
        let address = self.address(array);
        self.b
            .ins()
            .store(MemFlagsData::new(), value, address, offset);
    }

    fn store_byte(&mut self, value: Value, array: usize) {
        let address = self.address(array);
        self.b.ins().istore8(MemFlagsData::new(), value, address, 0);
    }

    /// Copies an element of 64 bits, with other bits.
    fn invert(&mut self, offset: i32, array: usize, to: i32) {
        let x = self.load(I64, 0, offset);
        let x = self.b.ins().bnot(x);
        self.store(x, array, to);
    }

    fn constant(&mut self, number: i64) -> Value {
        self.b.ins().iconst(I32, number)
    }
}

/// A function with a loop the counter of which advances by `step`, as text, after loops were vectorized. The loop carries a
/// value of the type `ty`, which `build` gives.
fn vectorized_with(
    step: i64,
    ty: Type,
    build: impl FnOnce(&mut Body<'_, '_>) -> Option<Value>,
) -> String {
    let mut func = Function::new();
    func.signature = Signature::new(CallConv::Tail);
    let vmctx = AbiParam::special(I64, ArgumentPurpose::VMContext);
    let [array, other, count] = [AbiParam::new(I32); 3];
    func.signature.params = vec![vmctx, array, other, count, AbiParam::new(ty)];
    func.signature.returns = vec![AbiParam::new(ty)];
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut func, &mut context);
    let [entry, again, exit] = [(); 3].map(|()| b.create_block());
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let flags = MemFlagsData::trusted().with_readonly().with_can_move();
    let base = b.ins().load(I64, flags, params[0], HEAP.base);
    let zero = b.ins().iconst(I32, 0);
    b.ins().jump(again, &[zero.into(), params[4].into()]);
    let counter = b.append_block_param(again, I32);
    let carried = b.append_block_param(again, ty);
    b.switch_to_block(again);
    let mut body = Body {
        b: &mut b,
        base,
        arrays: [params[1], params[2]],
        counter,
        carried,
    };
    let next_carried = build(&mut body).unwrap_or(carried);
    let step = b.ins().iconst(I32, step);
    let next = b.ins().iadd(counter, step);
    let goes_on = b.ins().icmp(IntCC::NotEqual, next, params[3]);
    let arguments = [BlockArg::from(next), next_carried.into()];
    b.ins().brif(goes_on, again, &arguments, exit, &[]);
    b.switch_to_block(exit);
    b.seal_all_blocks();
    b.ins().return_(&[carried]);
    b.finalize(TargetFrontendConfig {
        default_call_conv: CallConv::SystemV,
        pointer_width: target_lexicon::PointerWidth::U64,
        page_size_align_log2: 12,
    });
    let before = func.display().to_string();
    let changed = run(&mut func, &[HEAP]);
    verify_function(&func, &Flags::new(builder())).unwrap();
    let text = func.display().to_string();
    assert_eq!(changed, text != before, "{text}");
    text
}

/// The same of a loop that carries nothing.
fn vectorized(step: i64, build: impl FnOnce(&mut Body<'_, '_>)) -> String {
    vectorized_with(step, I32, |body| {
        build(body);
        None
    })
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "there is no `{part}`:\n{text}");
    }
}

/// Vectors have an `x` in the names of their types.
fn assert_is_scalar(text: &str) {
    for ty in ["f64x2", "f32x4", "i64x2", "i32x4", "i16x8"] {
        assert!(!text.contains(ty), "there is `{ty}`:\n{text}");
    }
}

#[test]
fn elements_are_lanes() {
    let text = vectorized(8, |body| {
        let (x, y) = (body.load(F64, 0, 0), body.load(F64, 1, 16));
        let product = body.b.ins().fmul(x, y);
        let negated = body.b.ins().fneg(product);
        body.store(negated, 0, 0);
    });
    assert_has(
        &text,
        &["load.f64x2", "icmp ule", "load.i64 notrap aligned v0+40"],
    );
    // Twice two, and the loop as it was.
    assert_eq!(text.matches("fmul").count(), 3, "{text}");
    assert_eq!(text.matches("fneg").count(), 3, "{text}");
}

#[test]
fn copies_of_an_iteration_are_lanes() {
    let text = vectorized(16, |body| {
        // Their order does not matter.
        for offset in [8, 0] {
            let (x, y) = (body.load(I64, 0, offset), body.load(I64, 1, offset));
            let sum = body.b.ins().iadd(x, y);
            body.store(sum, 0, offset);
        }
    });
    assert_has(&text, &["load.i64x2"]);
}

#[test]
fn copies_that_differ_are_not_lanes() {
    let text = vectorized(16, |body| {
        let x = body.load(I64, 0, 0);
        let y = body.load(I64, 0, 8);
        let (sum, difference) = (body.b.ins().iadd(x, x), body.b.ins().isub(y, y));
        body.store(sum, 1, 0);
        body.store(difference, 1, 8);
    });
    assert_is_scalar(&text);
}

#[test]
fn bytes_are_lanes_of_16_bits_where_these_hold_all_numbers() {
    let average = |factor: i64| {
        vectorized(1, move |body| {
            let (x, y) = (body.load_byte(0, 0), body.load_byte(1, 0));
            let factor = body.constant(factor);
            let y = body.b.ins().imul(y, factor);
            let sum = body.b.ins().iadd(x, y);
            let one = body.constant(1);
            let half = body.b.ins().ushr(sum, one);
            body.store_byte(half, 0);
        })
    };
    assert_has(&average(256), &["uload8x8", "unarrow"]);
    // 255 + 257 * 255 has 17 bits.
    assert_is_scalar(&average(257));
}

#[test]
fn what_the_iteration_before_computed_comes_from_other_lanes() {
    let text = vectorized_with(4, I32, |body| {
        let x = body.load(I32, 0, 0);
        let sum = body.b.ins().iadd(x, body.carried);
        body.store(sum, 1, 0);
        Some(x)
    });
    assert_has(&text, &["load.i32x4", "shuffle", "extractlane"]);
}

#[test]
fn sums_of_all_elements_are_not_vectors() {
    let text = vectorized_with(8, F64, |body| {
        let x = body.load(F64, 0, 0);
        let sum = body.b.ins().fadd(x, body.carried);
        body.store(sum, 1, 0);
        Some(sum)
    });
    assert_is_scalar(&text);
}

#[test]
fn elements_that_the_iteration_before_stored_are_not_lanes() {
    let text = vectorized(8, |body| {
        body.invert(0, 0, 8);
    });
    assert_is_scalar(&text);
    let text = vectorized(8, |body| body.invert(0, 0, 24));
    assert_is_scalar(&text);
    // Twice two are done at a time.
    let text = vectorized(8, |body| body.invert(0, 0, 32));
    assert_has(&text, &["load.i64x2"]);
}

#[test]
fn what_was_stored_is_not_loaded_again() {
    let text = vectorized(4, |body| {
        let x = body.load(I32, 0, 0);
        body.store(x, 1, 0);
        let stored = body.load(I32, 1, 0);
        let sum = body.b.ins().iadd(stored, x);
        body.store(sum, 1, 4000);
    });
    assert_is_scalar(&text);
}

#[test]
fn other_memory_is_left_alone() {
    let text = vectorized(8, |body| {
        body.base = body.b.ins().iadd(body.base, body.base);
        body.invert(0, 1, 0);
    });
    assert_is_scalar(&text);
}

#[test]
fn vectors_do_not_reach_beyond_guard_pages() {
    let with_offset = |offset| {
        vectorized(8, move |body| {
            body.invert(offset, 1, 0);
        })
    };
    assert_is_scalar(&with_offset((1 << 20) - 8));
    assert_has(&with_offset((1 << 20) - 64), &["load.i64x2"]);
}

#[test]
fn elements_that_are_not_side_by_side_are_not_lanes() {
    let text = vectorized(24, |body| {
        body.invert(0, 1, 0);
    });
    assert_is_scalar(&text);
    let text = vectorized(-8, |body| {
        body.invert(0, 1, 0);
    });
    assert_is_scalar(&text);
}

#[test]
fn what_only_copies_is_left_alone() {
    let text = vectorized(8, |body| {
        let x = body.load(I64, 0, 0);
        body.store(x, 1, 0);
    });
    assert_is_scalar(&text);
}
