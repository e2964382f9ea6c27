(* What the language has, from variants to objects, and exceptions in all places. *)

module Calculator = struct
  type expression =
    | Number of int
    | Variable of string
    | Binary of char * expression * expression
    | Let of string * expression * expression
    | Lambda of string * expression
    | Apply of expression * expression

  type value = Int of int | Closure of string * expression * (string * value) list

  exception Unbound of string
  exception Syntax of { at : int; what : string }

  let parse text =
    let length = String.length text in
    let at = ref 0 in
    let fail what = raise (Syntax { at = !at; what }) in
    let rec skip () = if !at < length && text.[!at] = ' ' then (incr at; skip ()) in
    let peek () = skip (); if !at < length then text.[!at] else '\000' in
    let accept c = if peek () = c then (incr at; true) else false in
    let expect c = if not (accept c) then fail (Printf.sprintf "expected %c" c) in
    let word () =
      skip ();
      let start = !at in
      while !at < length && (match text.[!at] with 'a' .. 'z' -> true | _ -> false) do incr at done;
      if !at = start then fail "expected a name";
      String.sub text start (!at - start)
    in
    let rec sum () =
      let left = ref (product ()) in
      let continue = ref true in
      while !continue do
        match peek () with
        | ('+' | '-') as op -> incr at; left := Binary (op, !left, product ())
        | _ -> continue := false
      done;
      !left
    and product () =
      let left = ref (application ()) in
      let continue = ref true in
      while !continue do
        match peek () with
        | ('*' | '/') as op -> incr at; left := Binary (op, !left, application ())
        | _ -> continue := false
      done;
      !left
    and application () =
      let f = ref (atom ()) in
      while peek () = '(' do incr at; f := Apply (!f, sum ()); expect ')' done;
      !f
    and atom () =
      match peek () with
      | '0' .. '9' ->
        let start = !at in
        while !at < length && (match text.[!at] with '0' .. '9' -> true | _ -> false) do incr at done;
        Number (int_of_string (String.sub text start (!at - start)))
      | '\\' -> incr at; let name = word () in expect '.'; Lambda (name, sum ())
      | '[' -> incr at; let e = sum () in expect ']'; e
      | 'a' .. 'z' ->
        (match word () with
         | "let" ->
           let name = word () in
           expect '='; let value = sum () in
           expect ';'; Let (name, value, sum ())
         | name -> Variable name)
      | _ -> fail "expected a value"
    in
    let e = sum () in
    if peek () <> '\000' then fail "more text";
    e

  let rec eval env = function
    | Number n -> Int n
    | Variable name -> (try List.assoc name env with Not_found -> raise (Unbound name))
    | Let (name, value, body) -> eval ((name, eval env value) :: env) body
    | Lambda (name, body) -> Closure (name, body, env)
    | Apply (f, argument) ->
      (match eval env f with
       | Closure (name, body, env') -> eval ((name, eval env argument) :: env') body
       | Int n -> invalid_arg (string_of_int n))
    | Binary (op, a, b) ->
      (match op, eval env a, eval env b with
       | '+', Int a, Int b -> Int (a + b)
       | '-', Int a, Int b -> Int (a - b)
       | '*', Int a, Int b -> Int (a * b)
       | '/', Int a, Int b -> Int (a / b)
       | _ -> failwith "not numbers")
end

module type ORDERED = sig type t val compare : t -> t -> int end

module Treap (Key : ORDERED) = struct
  type t = Empty | Node of t * Key.t * int * t
  let rec split key = function
    | Empty -> (Empty, Empty)
    | Node (l, k, p, r) ->
      if Key.compare k key < 0 then let a, b = split key r in (Node (l, k, p, a), b)
      else let a, b = split key l in (a, Node (b, k, p, r))
  let rec merge a b = match a, b with
    | Empty, t | t, Empty -> t
    | Node (l, k, p, r), Node (_, _, q, _) when p > q -> Node (l, k, p, merge r b)
    | _, Node (l, k, q, r) -> Node (merge a l, k, q, r)
  let insert priority key t =
    let a, b = split key t in
    merge (merge a (Node (Empty, key, priority, Empty))) b
  let rec fold f acc = function
    | Empty -> acc
    | Node (l, k, _, r) -> fold f (f (fold f acc l) k) r
  let rec height = function Empty -> 0 | Node (l, _, _, r) -> 1 + max (height l) (height r)
end

type _ term =
  | Int : int -> int term
  | Bool : bool -> bool term
  | Add : int term * int term -> int term
  | Less : int term * int term -> bool term
  | If : bool term * 'a term * 'a term -> 'a term
  | Pair : 'a term * 'b term -> ('a * 'b) term
  | First : ('a * 'b) term -> 'a term

let rec evaluate : type a. a term -> a = function
  | Int n -> n
  | Bool b -> b
  | Add (a, b) -> evaluate a + evaluate b
  | Less (a, b) -> evaluate a < evaluate b
  | If (c, a, b) -> if evaluate c then evaluate a else evaluate b
  | Pair (a, b) -> (evaluate a, evaluate b)
  | First p -> fst (evaluate p)

class virtual shape name = object (self)
  method name : string = name
  method virtual area : float
  method describe = Printf.sprintf "%s of %.3f" self#name self#area
end
class circle r = object
  inherit shape "circle"
  method area = 3.14159 *. r *. r
end
class square side = object
  inherit shape "square" as super
  val mutable side = side
  method grow by = side <- side +. by
  method area = side *. side
  method! describe = super#describe ^ "!"
end

exception Bottom of int

let rec descend n = if n = 0 then raise (Bottom 42) else 1 + descend (n - 1)

let rec rethrow n seen =
  try if n = 0 then raise Exit else rethrow (n - 1) seen
  with e -> incr seen; raise e

let attempt name f =
  match f () with
  | result -> Printf.printf "%s: %s\n" name result
  | exception Calculator.Syntax { at; what } -> Printf.printf "%s: %s at %d\n" name what at
  | exception Calculator.Unbound variable -> Printf.printf "%s: unbound %s\n" name variable
  | exception e -> Printf.printf "%s: %s\n" name (Printexc.to_string e)

let () =
  List.iter
    (fun text ->
      attempt text (fun () ->
          match Calculator.(eval [] (parse text)) with
          | Calculator.Int n -> string_of_int n
          | Calculator.Closure (name, _, env) -> Printf.sprintf "closure of %s in %d" name (List.length env)))
    [ "1 + 2 * 3"; "[1 + 2] * 3"; "let x = 5; x * x"; "let twice = \\f.\\x.f(f(x)); twice(twice)(\\n.n + 3)(1)";
      "\\x.x"; "1 +"; "(1"; "y + 1"; "10 / [5 - 5]"; "3(4)"; "\\x.x + 1 * \\y.y"; "1 2"; "[\\x.x] + 1";
      "let a = 1; let b = a + a; let c = b + b; let d = c + c; [\\x.x * d](d)" ];

  let module T = Treap (Int) in
  let state = ref 42 in
  let random limit =
    state := (!state * 1103515 + 12345) land 0x3fffffff;
    (!state lsr 8) mod limit
  in
  let t = ref T.Empty in
  for _ = 1 to 20000 do t := T.insert (random 1000000) (random 100000) !t done;
  Printf.printf "treap: %d, height below 60: %b\n" (T.fold (fun acc k -> (acc * 31 + k) land 0xffffff) 0 !t) (T.height !t < 60);

  let program = If (Less (Add (Int 1, Int 2), Int 4), First (Pair (Add (Int 20, Int 22), Bool false)), Int 0) in
  Printf.printf "term: %d\n" (evaluate program);

  let square = new square 2.0 in
  square#grow 0.5;
  List.iter (fun s -> print_endline s#describe) [ (new circle 1.5 :> shape); (square :> shape) ];

  attempt "descend" (fun () -> string_of_int (descend 1000));
  let seen = ref 0 in
  attempt "rethrow" (fun () -> rethrow 500 seen; "");
  Printf.printf "seen %d\n" !seen;
  attempt "find" (fun () -> string_of_int (List.find (fun x -> x > 5) [ 1; 2; 3 ]));
  attempt "hashtable" (fun () -> Hashtbl.find (Hashtbl.create 3) "key");
  attempt "bounds" (fun () -> string_of_int [| 1; 2; 3 |].(random 1 + 3));
  attempt "string" (fun () -> String.sub "short" 3 9);
  attempt "number" (fun () -> string_of_int (int_of_string "12x"));
  attempt "division" (fun () -> string_of_int (1 / random 1));
  attempt "match" (fun () -> match random 1 + 5 with 1 -> "one" | n when n > 100 -> "many" | _ -> raise (Failure "other"));
  attempt "assertion" (fun () -> assert (random 1 = 0); assert (random 1 = 1); "no");
  attempt "protect" (fun () -> Fun.protect ~finally:(fun () -> print_string "finally; ") (fun () -> raise Not_found));
  attempt "lazy" (fun () -> let l = lazy (raise Exit) in (try Lazy.force l with Exit -> ()); Lazy.force l)

let () =
  let sum = ref 0 in
  for i = 0 to 99999 do
    try
      if i mod 3 = 0 then raise (Bottom i);
      sum := !sum + (try descend (i mod 7) with Bottom n when n = i -> 0)
    with Bottom n -> sum := ((!sum * 31) + n) land 0xfffffff
  done;
  Printf.printf "many: %d\n" !sum
