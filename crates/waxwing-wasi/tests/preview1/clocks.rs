//! `clock_res_get` and `clock_time_get`.

use crate::guest::{Guest, MEMORY};
use std::time::{Duration, SystemTime};
use waxwing_wasi::preview1::Errno;
use waxwing_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

const REALTIME: i64 = 0;
const MONOTONIC: i64 = 1;

fn time(guest: &mut Guest, clock: i64) -> u64 {
    guest.call("clock_time_get", &[clock, 0, 0]).unwrap();
    guest.u64(0)
}

#[test]
fn realtime_is_the_time_of_the_host() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let host = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap().as_nanos() as u64
    };
    let before = host();
    let now = time(&mut guest, REALTIME);
    assert!((before..=host()).contains(&now));
}

#[test]
fn monotonic_time_passes() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let before = time(&mut guest, MONOTONIC);
    std::thread::sleep(Duration::from_millis(2));
    assert!(time(&mut guest, MONOTONIC) >= before + 2_000_000);
}

#[cfg(unix)]
#[test]
fn processor_time_passes() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    for clock in [2, 3] {
        let before = time(&mut guest, clock);
        assert!(before > 0);
        while time(&mut guest, clock) == before {}
    }
}

#[test]
fn every_clock_has_a_resolution() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    for clock in [REALTIME, MONOTONIC] {
        guest.call("clock_res_get", &[clock, 0]).unwrap();
        assert!((1..=1_000_000_000).contains(&guest.u64(0)));
    }
}

#[test]
fn unknown_clocks_and_bad_pointers_are_refused() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let last = i64::from(MEMORY) - 7;
    assert_eq!(guest.call("clock_time_get", &[4, 0, 0]), Err(Errno::Inval));
    assert_eq!(guest.call("clock_res_get", &[-1, 0]), Err(Errno::Inval));
    assert_eq!(
        guest.call("clock_time_get", &[0, 0, last]),
        Err(Errno::Fault)
    );
    assert_eq!(guest.call("clock_res_get", &[0, last]), Err(Errno::Fault));
}

struct Fixed;

impl HostWallClock for Fixed {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::new(7, 1)
    }
}

impl HostMonotonicClock for Fixed {
    fn resolution(&self) -> u64 {
        3
    }

    fn now(&self) -> u64 {
        9
    }
}

#[test]
fn embedders_set_the_clocks() {
    let mut builder = WasiCtxBuilder::new();
    let mut guest = Guest::new(builder.wall_clock(Fixed).monotonic_clock(Fixed));
    assert_eq!(time(&mut guest, REALTIME), 7_000_000_001);
    assert_eq!(time(&mut guest, MONOTONIC), 9);
    guest.call("clock_res_get", &[REALTIME, 0]).unwrap();
    assert_eq!(guest.u64(0), 1_000_000_000);
    guest.call("clock_res_get", &[MONOTONIC, 0]).unwrap();
    assert_eq!(guest.u64(0), 3);
}
