//! A small functional language: its text is parsed to a tree of boxed nodes, which is evaluated with closures and shared
//! environments. Enums, `Box`, `Rc`, recursion, and much allocation.

use std::rc::Rc;

#[derive(Debug)]
enum Expression {
    Number(i64),
    /// How many scopes out.
    Variable(usize),
    Function(Rc<Expression>),
    Apply(Box<Expression>, Box<Expression>),
    Let(Box<Expression>, Box<Expression>),
    If(Box<Expression>, Box<Expression>, Box<Expression>),
    Binary(char, Box<Expression>, Box<Expression>),
    Empty,
    Match(Box<Expression>, Box<Expression>, Box<Expression>),
}

/// Tokens are separated by spaces and parentheses. Names are resolved while parsing.
struct Parser<'t> {
    tokens: std::iter::Peekable<std::vec::IntoIter<&'t str>>,
    scopes: Vec<&'t str>,
}

type Parsed = Result<Expression, String>;

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Parser<'t> {
        let mut tokens = Vec::new();
        for piece in text.split_whitespace() {
            let mut rest = piece;
            while let Some(at) = rest.find(['(', ')']) {
                let (before, from) = rest.split_at(at);
                let (parenthesis, after) = from.split_at(1);
                if !before.is_empty() {
                    tokens.push(before);
                }
                tokens.push(parenthesis);
                rest = after;
            }
            if !rest.is_empty() {
                tokens.push(rest);
            }
        }
        Parser {
            tokens: tokens.into_iter().peekable(),
            scopes: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<&'t str, String> {
        self.tokens
            .next()
            .ok_or_else(|| "the text ends too early".to_string())
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        let found = self.next()?;
        if found == token {
            Ok(())
        } else {
            Err(format!("expected `{token}`, found `{found}`"))
        }
    }

    fn boxed(&mut self) -> Result<Box<Expression>, String> {
        self.parse().map(Box::new)
    }

    fn inside(&mut self, names: &[&'t str]) -> Parsed {
        self.scopes.extend(names);
        let body = self.parse();
        self.scopes.truncate(self.scopes.len() - names.len());
        body
    }

    fn parse(&mut self) -> Parsed {
        let token = self.next()?;
        if let Ok(number) = token.parse() {
            return Ok(Expression::Number(number));
        }
        if token == "nil" {
            return Ok(Expression::Empty);
        }
        if token != "(" {
            let scope = self.scopes.iter().rev().position(|name| *name == token);
            return scope
                .map(Expression::Variable)
                .ok_or_else(|| format!("`{token}` has no value"));
        }
        let expression = match self.tokens.peek().copied().unwrap_or_default() {
            "fn" => {
                self.next()?;
                let name = self.next()?;
                Expression::Function(Rc::new(self.inside(&[name])?))
            }
            "let" => {
                self.next()?;
                let name = self.next()?;
                // The value may be a function that calls itself.
                let value = self.inside(&[name])?;
                let body = self.inside(&[name])?;
                Expression::Let(Box::new(value), Box::new(body))
            }
            "if" => {
                self.next()?;
                Expression::If(self.boxed()?, self.boxed()?, self.boxed()?)
            }
            "match" => {
                self.next()?;
                let list = self.boxed()?;
                let empty = self.boxed()?;
                let (head, tail) = (self.next()?, self.next()?);
                let full = self.inside(&[head, tail])?;
                Expression::Match(list, empty, Box::new(full))
            }
            operator @ ("+" | "-" | "*" | "%" | "<" | "=" | ":") => {
                self.next()?;
                let operator = operator.chars().next().unwrap_or_default();
                Expression::Binary(operator, self.boxed()?, self.boxed()?)
            }
            _ => {
                let mut call = self.parse()?;
                while self.tokens.peek() != Some(&")") {
                    call = Expression::Apply(Box::new(call), self.boxed()?);
                }
                call
            }
        };
        self.expect(")")?;
        Ok(expression)
    }
}

#[derive(Clone)]
enum Value {
    Number(i64),
    Closure(Rc<Expression>, Environment),
    /// A closure that is the first value of its own environment.
    Recursive(Rc<Expression>, Environment),
    Empty,
    Pair(Rc<(Value, Value)>),
}

type Environment = Option<Rc<Scope>>;

struct Scope {
    value: Value,
    outer: Environment,
}

fn bind(value: Value, outer: &Environment) -> Environment {
    Some(Rc::new(Scope {
        value,
        outer: outer.clone(),
    }))
}

fn evaluate(expression: &Expression, environment: &Environment) -> Result<Value, String> {
    match expression {
        Expression::Number(number) => Ok(Value::Number(*number)),
        Expression::Empty => Ok(Value::Empty),
        Expression::Variable(scopes) => {
            let mut scope = environment.as_ref();
            for _ in 0..*scopes {
                scope = scope.and_then(|scope| scope.outer.as_ref());
            }
            scope
                .map(|scope| scope.value.clone())
                .ok_or_else(|| "a variable has no scope".to_string())
        }
        Expression::Function(body) => Ok(Value::Closure(body.clone(), environment.clone())),
        Expression::Apply(function, argument) => {
            let function = evaluate(function, environment)?;
            let argument = evaluate(argument, environment)?;
            match &function {
                Value::Closure(body, outer) => evaluate(body, &bind(argument, outer)),
                Value::Recursive(body, outer) => {
                    let outer = bind(function.clone(), outer);
                    evaluate(body, &bind(argument, &outer))
                }
                _ => Err("only functions can be called".to_string()),
            }
        }
        Expression::Let(value, body) => {
            let value = match &**value {
                Expression::Function(body) => Value::Recursive(body.clone(), environment.clone()),
                value => evaluate(value, &bind(Value::Empty, environment))?,
            };
            evaluate(body, &bind(value, environment))
        }
        Expression::If(condition, then, otherwise) => match evaluate(condition, environment)? {
            Value::Number(0) => evaluate(otherwise, environment),
            _ => evaluate(then, environment),
        },
        Expression::Binary(':', head, tail) => {
            let pair = (evaluate(head, environment)?, evaluate(tail, environment)?);
            Ok(Value::Pair(Rc::new(pair)))
        }
        Expression::Binary(operator, left, right) => {
            match (evaluate(left, environment)?, evaluate(right, environment)?) {
                (Value::Number(a), Value::Number(b)) => Ok(Value::Number(match operator {
                    '+' => a.wrapping_add(b),
                    '-' => a.wrapping_sub(b),
                    '*' => a.wrapping_mul(b),
                    '%' => a.checked_rem(b).ok_or("a division by zero")?,
                    '<' => i64::from(a < b),
                    _ => i64::from(a == b),
                })),
                _ => Err(format!("`{operator}` takes numbers")),
            }
        }
        Expression::Match(list, empty, full) => match evaluate(list, environment)? {
            Value::Empty => evaluate(empty, environment),
            Value::Pair(pair) => {
                let scope = bind(pair.0.clone(), environment);
                evaluate(full, &bind(pair.1.clone(), &scope))
            }
            _ => Err("`match` takes lists".to_string()),
        },
    }
}

/// Sorts pseudo-random numbers, counts the primes among numbers, and takes a function several times.
const PROGRAM: &str = "
    (let append (fn a (fn b (match a b head tail (: head (append tail b)))))
    (let filter (fn keep (fn list (match list nil head tail
        (if (keep head) (: head (filter keep tail)) (filter keep tail)))))
    (let sort (fn list (match list nil head tail
        (append (sort (filter (fn x (< x head)) tail))
                (: head (sort (filter (fn x (- 1 (< x head))) tail))))))
    (let random (fn count (fn state (if (= count 0) nil
        (: (% state 1000) (random (- count 1) (% (+ (* state 16807) 11) 2147483647))))))
    (let fold (fn step (fn start (fn list (match list start head tail (fold step (step start head) tail)))))
    (let range (fn from (fn to (if (< from to) (: from (range (+ from 1) to)) nil)))
    (let divides (fn n (fn d (if (< n (* d d)) 0 (if (= (% n d) 0) 1 (divides n (+ d 1))))))
    (let compose (fn f (fn g (fn x (f (g x)))))
    (let times (fn n (fn f (if (= n 0) (fn x x) (compose f (times (- n 1) f)))))
        (+ (fold (fn sum (fn x (% (+ (* sum 31) x) 1000003))) 0 (sort (random 120 SEED)))
           (+ (fold (fn count (fn n (if (divides n 2) count (+ count 1)))) 0 (range 2 300))
              (times 200 (fn x (% (+ (* x 3) 1) 65537)) SEED)))
    )))))))))";

fn interpret(seed: u32) -> Result<i64, String> {
    let text = PROGRAM.replace("SEED", &seed.to_string());
    let mut parser = Parser::new(&text);
    let program = parser.parse()?;
    match evaluate(&program, &None)? {
        Value::Number(number) => Ok(number),
        _ => Err("the program's result is no number".to_string()),
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let mut hash = 0u64;
    for seed in 1..=n.max(0) as u32 {
        match interpret(seed) {
            Ok(number) => hash = (hash ^ number as u64).wrapping_mul(0xff51afd7ed558ccd),
            Err(_) => return -1,
        }
        hash ^= hash >> 32;
    }
    (hash >> 1) as i64
}
