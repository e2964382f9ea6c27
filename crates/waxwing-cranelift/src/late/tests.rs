use super::{LateScratch, improve};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, BlockArg, Function, InstBuilder, MemFlagsData, Opcode, Signature, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings::{Flags, builder};
use cranelift_codegen::verify_function;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use types::{I32, I64};

/// A function of two parameters, improved.
fn improved(build: impl FnOnce(&mut FunctionBuilder<'_>, Value, Value)) -> Function {
    let mut func = Function::new();
    func.signature = Signature::new(CallConv::Tail);
    func.signature.params = vec![AbiParam::new(I64), AbiParam::new(I32)];
    func.signature.returns = vec![AbiParam::new(I32)];
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut func, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let (x, y) = (b.block_params(entry)[0], b.block_params(entry)[1]);
    build(&mut b, x, y);
    b.finalize(frontend());
    improve(&mut func, true, &mut LateScratch::default());
    verify_function(&func, &Flags::new(builder())).unwrap();
    func
}

/// What a turn of a loop makes.
struct Turn {
    condition: Value,
    /// Whether the loop goes on while the condition holds, or until it does.
    while_true: bool,
    /// What the loop's parameter is in the next turn.
    next: Value,
    /// What the function returns.
    result: Value,
}

/// A loop of one block with a parameter, which is `first` at first.
fn repeat(
    b: &mut FunctionBuilder<'_>,
    first: Value,
    body: impl FnOnce(&mut FunctionBuilder<'_>, Value) -> Turn,
) {
    let header = b.create_block();
    let exit = b.create_block();
    let param = b.append_block_param(header, I32);
    b.ins().jump(header, &[BlockArg::Value(first)]);
    b.switch_to_block(header);
    let turn = body(b, param);
    let next = &[BlockArg::Value(turn.next)];
    match turn.while_true {
        true => b.ins().brif(turn.condition, header, next, exit, &[]),
        false => b.ins().brif(turn.condition, exit, &[], header, next),
    };
    b.seal_block(header);
    b.switch_to_block(exit);
    b.seal_block(exit);
    b.ins().return_(&[turn.result]);
}

fn opcodes(func: &Function) -> Vec<Opcode> {
    let blocks = func.layout.blocks();
    let insts = blocks.flat_map(|block| func.layout.block_insts(block));
    insts.map(|inst| func.dfg.insts[inst].opcode()).collect()
}

#[test]
fn sums_follow_what_they_are_of() {
    let func = improved(|b, x, _| {
        let values: Vec<Value> = (0..8)
            .map(|i| b.ins().load(I32, MemFlagsData::new(), x, i * 4))
            .collect();
        let mut sum = values[0];
        for value in &values[1..] {
            sum = b.ins().iadd(sum, *value);
        }
        b.ins().return_(&[sum]);
    });
    use Opcode::{Iadd, Load, Return};
    let mut expected = vec![Load];
    expected.extend([Load, Iadd].repeat(7));
    expected.push(Return);
    assert_eq!(opcodes(&func), expected);
}

#[test]
fn values_that_are_needed_further_on_stay_where_they_are() {
    // Early products would be alive beside all of their operands.
    let func = improved(|b, x, _| {
        let values: Vec<Value> = (0..4)
            .map(|i| b.ins().load(I32, MemFlagsData::new(), x, i * 4))
            .collect();
        let mut sum = b.ins().iconst(I32, 0);
        for pair in values.windows(2) {
            let product = b.ins().imul(pair[0], pair[1]);
            sum = b.ins().iadd(sum, product);
        }
        for value in values {
            b.ins().store(MemFlagsData::new(), value, x, 64);
        }
        b.ins().return_(&[sum]);
    });
    assert_eq!(opcodes(&func)[..4], [Opcode::Load; 4]);
}

#[test]
fn counters_are_compared_when_they_were_counted() {
    let func = improved(|b, _, y| {
        repeat(b, y, |b, counter| {
            let step = b.ins().iconst(I32, 16);
            let next = b.ins().iadd(counter, step);
            let end = b.ins().iconst(I32, 0xffff_fff8);
            let done = b.ins().icmp(IntCC::Equal, counter, end);
            Turn {
                condition: done,
                while_true: false,
                next,
                result: next,
            }
        });
    });
    let text = func.display().to_string();
    let next = "v4 = iadd";
    assert!(text.contains(next), "{text}");
    // It wraps.
    assert!(text.contains("iconst.i32 8"), "{text}");
    assert!(text.contains("icmp eq v4, "), "{text}");
    assert_eq!(text.matches("icmp").count(), 1, "{text}");
}

#[test]
fn bytes_are_compared_as_such() {
    let func = improved(|b, _, y| {
        let mask = b.ins().iconst(I32, 0xff);
        let byte = b.ins().band(y, mask);
        let end = b.ins().iconst(I32, 26);
        let is_less = b.ins().icmp(IntCC::SignedLessThan, byte, end);
        let is_less = b.ins().uextend(I32, is_less);
        b.ins().return_(&[is_less]);
    });
    let text = func.display().to_string();
    assert!(text.contains("icmp ult"), "{text}");
    assert!(text.contains("iconst.i8 26"), "{text}");
    assert!(!text.contains("band"), "{text}");
}

#[test]
fn counters_are_counted_when_nothing_needs_them() {
    let func = improved(|b, x, y| {
        repeat(b, y, |b, counter| {
            let step = b.ins().iconst(I32, 4);
            let next = b.ins().iadd(counter, step);
            b.ins().store(MemFlagsData::new(), counter, x, 0);
            let done = b.ins().icmp(IntCC::UnsignedLessThan, y, next);
            b.ins().store(MemFlagsData::new(), counter, x, 4);
            Turn {
                condition: done,
                while_true: false,
                next,
                result: y,
            }
        });
    });
    use Opcode::{Brif, Iadd, Icmp, Iconst, Jump, Return, Store};
    let expected = [Jump, Iconst, Store, Store, Iadd, Icmp, Brif, Return];
    assert_eq!(opcodes(&func), expected);
}

#[test]
fn counters_that_are_needed_after_counting_stay_where_they_are() {
    let func = improved(|b, x, y| {
        repeat(b, y, |b, counter| {
            let next = b.ins().iadd(counter, y);
            b.ins().store(MemFlagsData::new(), next, x, 0);
            let done = b.ins().icmp(IntCC::UnsignedLessThan, counter, next);
            Turn {
                condition: done,
                while_true: false,
                next,
                result: y,
            }
        });
    });
    use Opcode::{Brif, Iadd, Icmp, Jump, Return, Store};
    let expected = [Jump, Iadd, Store, Icmp, Brif, Return];
    assert_eq!(opcodes(&func), expected);
}

/// A list that is walked: the next element's index is loaded at that of each.
fn walk(
    b: &mut FunctionBuilder<'_>,
    x: Value,
    y: Value,
    step: fn(&mut FunctionBuilder<'_>, Value) -> Value,
) {
    repeat(b, y, |b, index| {
        let extended = b.ins().uextend(I64, index);
        let address = b.ins().iadd(x, extended);
        let next = b.ins().load(I32, MemFlagsData::new(), address, 0);
        let next = step(b, next);
        Turn {
            condition: next,
            while_true: true,
            next,
            result: index,
        }
    });
}

#[test]
fn indices_are_extended_before_loops() {
    let func = improved(|b, x, y| walk(b, x, y, |_, next| next));
    use Opcode::{Brif, Iadd, Ireduce, Jump, Return, Uextend, Uload32};
    let entry = [Uextend, Jump];
    let header = [Ireduce, Iadd, Uload32, Ireduce, Brif];
    let expected: Vec<_> = entry.into_iter().chain(header).chain([Return]).collect();
    assert_eq!(opcodes(&func), expected);
}

#[test]
fn indices_that_are_not_extended_for_nothing_stay_as_they_are() {
    let func = improved(|b, x, y| walk(b, x, y, |b, next| b.ins().rotl_imm_u(next, 3)));
    let text = func.display().to_string();
    assert!(!text.contains("uload32"), "{text}");
    assert!(text.contains("block1(v2: i32)"), "{text}");
}

fn frontend() -> cranelift_codegen::isa::TargetFrontendConfig {
    cranelift_codegen::isa::TargetFrontendConfig {
        default_call_conv: CallConv::SystemV,
        pointer_width: target_lexicon::PointerWidth::U64,
        page_size_align_log2: 12,
    }
}
