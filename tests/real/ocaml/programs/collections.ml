(* The standard library under load: strings, hash tables, maps, sequences, formats, floating point and boxed integers. *)

module Strings = Map.Make (String)
module Ints = Set.Make (Int)

let state = ref 7
let random limit =
  state := (!state * 1103515 + 12345) land 0x3fffffff;
  (!state lsr 8) mod limit

let word () =
  let syllables = [| "ka"; "to"; "ri"; "sun"; "x"; "ле"; "ō" |] in
  let buffer = Buffer.create 16 in
  for _ = 0 to random 3 do Buffer.add_string buffer syllables.(random (Array.length syllables)) done;
  Buffer.contents buffer

let words () =
  let table = Hashtbl.create 16 and map = ref Strings.empty in
  for _ = 1 to 30000 do
    let w = word () in
    Hashtbl.replace table w (1 + Option.value ~default:0 (Hashtbl.find_opt table w));
    map := Strings.update w (fun n -> Some (1 + Option.value ~default:0 n)) !map
  done;
  let sorted =
    List.sort
      (fun (a, m) (b, n) -> if m <> n then compare n m else compare a b)
      (Hashtbl.fold (fun k v acc -> (k, v) :: acc) table [])
  in
  Printf.printf "%d words, the same in the map: %b\n" (Hashtbl.length table)
    (List.for_all (fun (k, v) -> Strings.find k !map = v) sorted);
  List.iteri (fun i (k, v) -> if i < 8 then Printf.printf "%s: %d\n" k v) sorted

let sets () =
  let set = ref Ints.empty and kept = ref [] in
  for i = 1 to 20000 do
    let n = random 5000 in
    set := if Ints.mem n !set then Ints.remove n !set else Ints.add n !set;
    if i mod 2000 = 0 then kept := !set :: !kept
  done;
  List.iter (fun s -> Printf.printf "%d " (Ints.cardinal s)) !kept;
  print_newline ();
  Printf.printf "%d\n" (Ints.cardinal (List.fold_left Ints.inter (List.hd !kept) !kept))

let rec queens size placed row =
  if row = size then 1
  else
    List.init size Fun.id
    |> List.filter (fun c -> List.for_all Fun.id (List.mapi (fun i p -> p <> c && abs (p - c) <> i + 1) placed))
    |> List.fold_left (fun n c -> n + queens size (c :: placed) (row + 1)) 0

let primes =
  let rec sieve s () = match s () with
    | Seq.Nil -> Seq.Nil
    | Seq.Cons (p, rest) -> Seq.Cons (p, sieve (Seq.filter (fun n -> n mod p <> 0) rest))
  in
  sieve (Seq.ints 2)

let matrix n =
  let make f = Array.init n (fun i -> Array.init n (fun j -> f i j)) in
  let a = make (fun i j -> float_of_int (i + j) /. 7.0) and b = make (fun i j -> float_of_int (i * j mod 11)) in
  let c = make (fun i j ->
      let sum = ref 0.0 in
      for k = 0 to n - 1 do sum := !sum +. (a.(i).(k) *. b.(k).(j)) done;
      !sum)
  in
  Array.fold_left (fun acc row -> Array.fold_left ( +. ) acc row) 0.0 c

type 'a tree = Leaf | Node of 'a tree * 'a * 'a tree
let rec build depth = if depth = 0 then Leaf else Node (build (depth - 1), depth, build (depth - 1))
let rec count = function Leaf -> 1 | Node (l, _, r) -> count l + count r

let () =
  words ();
  sets ();
  Printf.printf "queens: %d\n" (queens 7 [] 0);
  Printf.printf "primes: %s\n" (String.concat " " (List.of_seq (Seq.map string_of_int (Seq.take 10 (Seq.drop 200 primes)))));
  Printf.printf "matrix: %.6f %h %g\n" (matrix 60) (matrix 5) (matrix 17);
  Printf.printf "trees: %d\n" (List.fold_left (fun n _ -> n + count (build 12)) 0 (List.init 50 Fun.id));

  let array = Array.init 50000 (fun _ -> random 1000000) in
  Array.sort compare array;
  Printf.printf "sorted: %d %d %d\n" array.(0) array.(25000) array.(49999);
  let pairs = List.init 20000 (fun i -> (random 100, i)) in
  let stable = List.stable_sort (fun (a, _) (b, _) -> compare a b) pairs in
  Printf.printf "stable: %d\n" (List.fold_left (fun acc (k, i) -> (acc * 31 + (k * i)) land 0xffffff) 0 stable);

  let crc = ref 0xffffffffl in
  String.iter
    (fun c ->
      crc := Int32.logxor !crc (Int32.of_int (Char.code c));
      for _ = 1 to 8 do
        crc := Int32.logxor (Int32.shift_right_logical !crc 1)
            (Int32.logand 0xEDB88320l (Int32.neg (Int32.logand !crc 1l)))
      done)
    (String.concat "," (List.init 2000 string_of_int));
  Printf.printf "crc: %08lx\n" (Int32.lognot !crc);
  let x = ref 88172645463325252L in
  for _ = 1 to 20000 do
    x := Int64.logxor !x (Int64.shift_left !x 13);
    x := Int64.logxor !x (Int64.shift_right_logical !x 7);
    x := Int64.logxor !x (Int64.shift_left !x 17)
  done;
  Printf.printf "xorshift: %Ld %Lx\n" !x !x;
  Printf.printf "%5d|%-5d|%05d|%x|%S|%C|%b|%10.4f|%e\n" 42 42 42 255 "a\n\"б" 'q' true 3.14159265 12345.678;
  Printf.printf "%s\n" (Scanf.sscanf "17 apples at 2.5" "%d %s at %f" (fun n s f -> Printf.sprintf "%s*%d=%.2f" s n (f *. float_of_int n)));
  let queue = Queue.create () in
  for i = 1 to 10000 do Queue.add (i, random 10) queue; if i mod 3 = 0 then ignore (Queue.pop queue) done;
  Printf.printf "queue: %d %d\n" (Queue.length queue) (Queue.fold (fun acc (i, r) -> (acc + (i * r)) land 0xffffff) 0 queue);
  let bytes = Bytes.make 1000 'a' in
  Bytes.iteri (fun i _ -> Bytes.set bytes i (Char.chr (97 + (i * i mod 26)))) bytes;
  Printf.printf "digest: %s\n" (Digest.to_hex (Digest.bytes bytes))
