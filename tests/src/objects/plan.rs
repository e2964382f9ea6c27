//! What is called in a module, and with what.

use crate::rng::Rng;
use crate::smith::FUEL_EXPORT;
use anyhow::{Context, Result};
use serde_json::{Value as Json, json};
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{
    AbstractHeapType, CompositeInnerType, HeapType, RefType, ValType, Validator, WasmFeatures,
};

/// Who can follow a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// This engine: everything can be called and seen.
    Waxwing,
    /// Engines with JavaScript's interface, which has no vectors and no exception references.
    JavaScript,
}

/// How often each function is called.
const ROUNDS: u64 = 2;

/// What is done with an instance of a module, in this order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Calls of exported functions.
    pub calls: Vec<Call>,
    /// Then, exported items that are looked at.
    pub items: Vec<Exported>,
    /// Exported tags, to recognise what was thrown, with the types of what they carry.
    pub tags: Vec<(String, Vec<Kind>)>,
}

/// A call of an exported function.
#[derive(Clone, Debug)]
pub struct Call {
    /// The export's name.
    pub function: String,
    /// What it is called with.
    pub args: Vec<Arg>,
    /// What it returns.
    pub results: Vec<Kind>,
}

/// An argument. Floats are given by their bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// An `f32`.
    F32(u32),
    /// An `f64`.
    F64(u64),
    /// A `v128`.
    V128(u128),
    /// The null reference of the parameter's type.
    Null,
    /// An `i31`.
    I31(i32),
    /// An object of the host.
    Host(u32),
    /// A result of an earlier call. If that call did not return: null where the parameter can be,
    /// otherwise the call is left out.
    Result {
        /// The call's number.
        call: usize,
        /// Which of its results.
        result: usize,
        /// Whether null can stand in for it.
        nullable: bool,
    },
}

/// A type, as far as showing its values is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `v128`
    V128,
    /// Any reference.
    Ref,
}

/// An exported item that has a state.
#[derive(Clone, Debug)]
pub enum Exported {
    /// A global of this name and type.
    Global(String, Kind),
    /// A memory of this name.
    Memory(String),
    /// A table of this name.
    Table(String),
}

impl Plan {
    /// A plan for `wasm`, a valid module without imports, drawn from `seed`.
    ///
    /// # Errors
    ///
    /// When the module is not valid.
    pub fn new(wasm: &[u8], seed: u64, audience: Audience) -> Result<Plan> {
        // Types are exact where custom descriptors are on, which makes valid modules invalid.
        let features = WasmFeatures::all() - WasmFeatures::CUSTOM_DESCRIPTORS;
        let types = Validator::new_with_features(features)
            .validate_all(wasm)
            .context("the module is not valid")?;
        let mut planner = Planner {
            types: types.as_ref(),
            audience,
            returned: Vec::new(),
        };
        let mut plan = Plan {
            calls: Vec::new(),
            items: Vec::new(),
            tags: Vec::new(),
        };
        let exports: Vec<(&str, EntityType)> = planner
            .types
            .core_exports()
            .context("it is a component")?
            .collect();
        for round in 0..ROUNDS {
            for (index, (name, ty)) in exports.iter().enumerate() {
                if let EntityType::Func(ty) | EntityType::FuncExact(ty) = ty {
                    let ty = planner.types[*ty].unwrap_func();
                    let mut rng = Rng::of(&[seed, round, index as u64]);
                    let number = plan.calls.len();
                    if let Some(args) = planner.args(ty.params(), &mut rng)
                        && let Some(results) = planner.kinds(ty.results())
                    {
                        plan.calls.push(Call {
                            function: name.to_string(),
                            args,
                            results,
                        });
                        let references = ty.results().iter().enumerate();
                        let references = references.filter_map(|(result, ty)| match ty {
                            ValType::Ref(ty) => Some((number, result, *ty)),
                            _ => None,
                        });
                        planner.returned.extend(references);
                    }
                }
            }
        }
        for (name, ty) in &exports {
            let name = name.to_string();
            match ty {
                EntityType::Global(_) if name == FUEL_EXPORT => {}
                EntityType::Global(ty) => {
                    if let Some(kind) = planner.kind(ty.content_type) {
                        plan.items.push(Exported::Global(name, kind));
                    }
                }
                EntityType::Memory(_) => plan.items.push(Exported::Memory(name)),
                EntityType::Table(ty) => {
                    if planner.kind(ValType::Ref(ty.element_type)).is_some() {
                        plan.items.push(Exported::Table(name));
                    }
                }
                EntityType::Tag(ty) => {
                    let ty = planner.types[*ty].unwrap_func();
                    if let Some(params) = planner.kinds(ty.params()) {
                        plan.tags.push((name, params));
                    }
                }
                EntityType::Func(_) | EntityType::FuncExact(_) => {}
            }
        }
        Ok(plan)
    }

    /// The plan for a program in JavaScript.
    pub fn to_json(&self) -> Json {
        let kinds = |kinds: &[Kind]| -> Vec<Json> {
            let name = |kind: &Kind| format!("{kind:?}").to_lowercase();
            kinds.iter().map(|kind| name(kind).into()).collect()
        };
        let calls = self.calls.iter().map(|call| {
            let args: Vec<Json> = call.args.iter().map(|arg| arg.to_json()).collect();
            json!({"function": call.function, "args": args, "results": kinds(&call.results)})
        });
        let items = self.items.iter().map(|item| match item {
            Exported::Global(name, kind) => {
                json!({"kind": "global", "name": name, "type": kinds(&[*kind])[0]})
            }
            Exported::Memory(name) => json!({"kind": "memory", "name": name}),
            Exported::Table(name) => json!({"kind": "table", "name": name}),
        });
        let tags = self
            .tags
            .iter()
            .map(|(name, params)| json!({"name": name, "params": kinds(params)}));
        json!({
            "fuel": FUEL_EXPORT,
            "calls": calls.collect::<Vec<_>>(),
            "items": items.collect::<Vec<_>>(),
            "tags": tags.collect::<Vec<_>>(),
        })
    }
}

impl Arg {
    /// 64-bit numbers as text, since JavaScript reads numbers as floats.
    fn to_json(self) -> Json {
        match self {
            Arg::I32(value) => json!({"i32": value}),
            Arg::I64(value) => json!({"i64": value.to_string()}),
            Arg::F32(bits) => json!({"f32": bits}),
            Arg::F64(bits) => json!({"f64": bits.to_string()}),
            Arg::V128(bits) => json!({"v128": bits.to_string()}),
            Arg::Null => json!({"null": true}),
            Arg::I31(value) => json!({"i31": value}),
            Arg::Host(number) => json!({"host": number}),
            Arg::Result {
                call,
                result,
                nullable,
            } => json!({"call": call, "result": result, "nullable": nullable}),
        }
    }
}

struct Planner<'a> {
    types: TypesRef<'a>,
    audience: Audience,
    /// References that calls return: the call, which of its results, and its type.
    returned: Vec<(usize, usize, RefType)>,
}

impl Planner<'_> {
    /// `None` if the audience cannot see values of the type.
    fn kind(&self, ty: ValType) -> Option<Kind> {
        let script = self.audience == Audience::JavaScript;
        Some(match ty {
            ValType::I32 => Kind::I32,
            ValType::I64 => Kind::I64,
            ValType::F32 => Kind::F32,
            ValType::F64 => Kind::F64,
            ValType::V128 if script => return None,
            ValType::V128 => Kind::V128,
            ValType::Ref(ty) if script && self.is_exception(ty) => return None,
            ValType::Ref(_) => Kind::Ref,
        })
    }

    fn kinds(&self, types: &[ValType]) -> Option<Vec<Kind>> {
        types.iter().map(|ty| self.kind(*ty)).collect()
    }

    fn is_exception(&self, ty: RefType) -> bool {
        matches!(
            ty.heap_type(),
            HeapType::Abstract {
                ty: AbstractHeapType::Exn | AbstractHeapType::NoExn,
                ..
            }
        )
    }

    /// `None` if there is no value of one of the types, or the audience cannot make it.
    fn args(&self, params: &[ValType], rng: &mut Rng) -> Option<Vec<Arg>> {
        params
            .iter()
            .map(|ty| {
                self.kind(*ty)?;
                use crate::diff::{Type, Value};
                Some(match ty {
                    ValType::Ref(ty) => return self.reference(*ty, rng),
                    ValType::V128 => match Value::random(rng, Type::V128) {
                        Value::V128(bits) => Arg::V128(bits),
                        _ => return None,
                    },
                    ValType::I32 => match Value::random(rng, Type::I32) {
                        Value::I32(value) => Arg::I32(value),
                        _ => return None,
                    },
                    ValType::I64 => match Value::random(rng, Type::I64) {
                        Value::I64(value) => Arg::I64(value),
                        _ => return None,
                    },
                    ValType::F32 => match Value::random(rng, Type::F32) {
                        Value::F32(bits) => Arg::F32(bits),
                        _ => return None,
                    },
                    ValType::F64 => match Value::random(rng, Type::F64) {
                        Value::F64(bits) => Arg::F64(bits),
                        _ => return None,
                    },
                })
            })
            .collect()
    }

    fn reference(&self, ty: RefType, rng: &mut Rng) -> Option<Arg> {
        use AbstractHeapType as A;
        let nullable = ty.is_nullable();
        let mut choices = Vec::new();
        if nullable {
            choices.push(Arg::Null);
        }
        if let HeapType::Abstract { ty, .. } = ty.heap_type() {
            if matches!(ty, A::Any | A::Eq | A::I31) {
                let values = [0, 1, -1, (1 << 30) - 1, -(1 << 30), 1000];
                choices.push(Arg::I31(*rng.choose(&values)));
            }
            if matches!(ty, A::Any | A::Extern) {
                choices.push(Arg::Host(rng.below(1000) as u32));
            }
        }
        let fitting: Vec<_> = self
            .returned
            .iter()
            .filter(|(_, _, from)| self.fits(*from, ty))
            .collect();
        if !fitting.is_empty() {
            let (call, result, _) = **rng.choose(&fitting);
            // Objects of the module's own are what is most interesting.
            for _ in 0..3 {
                choices.push(Arg::Result {
                    call,
                    result,
                    nullable,
                });
            }
        }
        if choices.is_empty() {
            return None;
        }
        Some(*rng.choose(&choices))
    }

    /// Whether every value of type `from` is one of type `to`; false for some where that is so.
    fn fits(&self, from: RefType, to: RefType) -> bool {
        use AbstractHeapType as A;
        if from.is_nullable() && !to.is_nullable() {
            return false;
        }
        if from.heap_type() == to.heap_type() {
            return true;
        }
        let HeapType::Abstract {
            ty: to,
            shared: false,
        } = to.heap_type()
        else {
            return false;
        };
        match from.heap_type() {
            HeapType::Concrete(from) | HeapType::Exact(from) => {
                let Some(id) = from.as_core_type_id() else {
                    return false;
                };
                match &self.types[id].composite_type.inner {
                    CompositeInnerType::Func(_) => matches!(to, A::Func),
                    CompositeInnerType::Struct(_) => matches!(to, A::Struct | A::Eq | A::Any),
                    CompositeInnerType::Array(_) => matches!(to, A::Array | A::Eq | A::Any),
                    CompositeInnerType::Cont(_) => false,
                }
            }
            HeapType::Abstract {
                ty: from,
                shared: false,
            } => matches!(
                (from, to),
                (A::Struct | A::Array | A::I31, A::Eq | A::Any) | (A::Eq, A::Any)
            ),
            HeapType::Abstract { shared: true, .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(wat: &str, audience: Audience) -> Plan {
        let wasm = wat::parse_str(wat).expect("the text is well formed");
        Plan::new(&wasm, 7, audience).expect("the module is valid")
    }

    #[test]
    fn javascript_sees_neither_vectors_nor_exceptions() {
        let text = r#"(module
            (global (export "g") (mut v128) (v128.const i64x2 0 0))
            (func (export "v") (param v128))
            (func (export "e") (result exnref) (ref.null exn))
            (func (export "i") (param i32)))"#;
        let names = |audience| -> Vec<String> {
            let calls = plan(text, audience).calls;
            calls.iter().map(|call| call.function.clone()).collect()
        };
        assert_eq!(names(Audience::JavaScript), ["i", "i"]);
        assert_eq!(names(Audience::Waxwing), ["v", "e", "i", "v", "e", "i"]);
        assert_eq!(plan(text, Audience::JavaScript).items.len(), 0);
        assert_eq!(plan(text, Audience::Waxwing).items.len(), 1);
    }

    #[test]
    fn results_become_arguments() {
        let plan = plan(
            r#"(module (type $s (struct))
                (func (export "make") (result (ref $s)) (struct.new $s))
                (func (export "take") (param (ref struct)))
                (func (export "never") (param (ref none))))"#,
            Audience::JavaScript,
        );
        let names: Vec<&str> = plan.calls.iter().map(|call| &*call.function).collect();
        assert_eq!(names, ["make", "take", "make", "take"]);
        assert!(matches!(
            plan.calls[1].args[..],
            [Arg::Result {
                call: 0,
                result: 0,
                nullable: false
            }]
        ));
    }
}
