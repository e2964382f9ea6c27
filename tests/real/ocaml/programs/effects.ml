(* Effects: handlers that resume, or do not, what was performed. *)

open Effect
open Effect.Deep

type _ Effect.t += Yield : unit t | Fork : (unit -> unit) -> unit t | Ask : string -> int t | Choose : 'a list -> 'a t

let log = Buffer.create 100

(* A scheduler of threads. *)
let run main =
  let ready = Queue.create () in
  let next () = if not (Queue.is_empty ready) then (Queue.pop ready) () in
  let rec spawn f =
    match_with f ()
      { retc = (fun () -> next ());
        exnc = (fun e -> Buffer.add_string log (Printexc.to_string e ^ " "); next ());
        effc = (fun (type a) (e : a t) ->
            match e with
            | Yield -> Some (fun (k : (a, _) continuation) -> Queue.add (fun () -> continue k ()) ready; next ())
            | Fork f -> Some (fun (k : (a, _) continuation) -> Queue.add (fun () -> continue k ()) ready; spawn f)
            | _ -> None) }
  in
  spawn main

(* A generator out of any iteration. *)
let generate (type a) (iterate : (a -> unit) -> unit) : unit -> a option =
  let module M = struct type _ Effect.t += Next : a -> unit t end in
  let rec step = ref (fun () ->
      match_with (fun () -> iterate (fun x -> perform (M.Next x))) ()
        { retc = (fun () -> step := (fun () -> None); None);
          exnc = raise;
          effc = (fun (type b) (e : b t) ->
              match e with
              | M.Next x -> Some (fun (k : (b, _) continuation) -> step := (fun () -> continue k ()); Some x)
              | _ -> None) })
  in
  fun () -> !step ()

let () =
  let answers =
    match_with
      (fun () ->
        let a = perform (Ask "first") in
        let b = perform (Ask "second") in
        (a * 100) + b)
      ()
      { retc = Fun.id;
        exnc = raise;
        effc = (fun (type a) (e : a t) ->
            match e with
            | Ask question -> Some (fun (k : (a, _) continuation) -> continue k (String.length question))
            | _ -> None) }
  in
  Printf.printf "answers: %d\n" answers;

  let total = ref 0 in
  run (fun () ->
      for i = 1 to 20 do
        perform (Fork (fun () ->
            for j = 1 to 50 do
              total := !total + (i * j);
              Buffer.add_string log (if j = 25 then string_of_int i ^ " " else "");
              if i = 13 && j = 30 then failwith "thirteen";
              perform Yield
            done))
      done);
  Printf.printf "total: %d\n%s\n" !total (Buffer.contents log);

  let next = generate (fun f -> Hashtbl.iter (fun k v -> f (k, v)) (Hashtbl.of_seq (List.to_seq [ (1, "a"); (2, "b"); (3, "c") ]))) in
  let rec drain acc = match next () with None -> List.rev acc | Some (k, v) -> drain (Printf.sprintf "%d%s" k v :: acc) in
  print_endline (String.concat " " (List.sort compare (drain [])));
  let next = generate (fun f -> for i = 1 to 30000 do f i done) in
  let sum = ref 0 in
  let rec add () = match next () with None -> () | Some i -> sum := !sum + i; add () in
  add ();
  Printf.printf "sum: %d\n" !sum;

  let result =
    try
      match_with (fun () -> try perform (Ask "x") with Exit -> 7) ()
        { retc = (fun n -> n * 2);
          exnc = (fun e -> Printf.printf "caught %s\n" (Printexc.to_string e); -1);
          effc = (fun (type a) (e : a t) ->
              match e with
              | Ask _ -> Some (fun (k : (a, _) continuation) -> discontinue k Exit)
              | _ -> None) }
    with Exit -> 0
  in
  Printf.printf "discontinued: %d\n" result;
  (match perform Yield with () -> () | exception Unhandled _ -> print_endline "unhandled")
