//! `-S`: what the system gives to programs.

use super::{Apply, Group, Row};
use std::net::TcpListener;

pub static GROUP: Group = Group {
    letter: 'S',
    title: "WASI",
    rows: &[
        Row {
            key: "preview1",
            default: "y",
            help: "Offer the modules wasi_snapshot_preview1 and wasi_unstable for import.",
            apply: Apply::Flag(|s, on| s.wasi.preview1 = on),
        },
        Row {
            key: "inherit-env",
            default: "n",
            help: "Give the guest all environment variables of the host.",
            apply: Apply::Flag(|s, on| s.wasi.inherit_env = on),
        },
        Row {
            key: "inherit-stdin",
            default: "y",
            help: "Let the guest read the standard input; otherwise it is empty.",
            apply: Apply::Flag(|s, on| s.wasi.inherit_stdin = on),
        },
        Row {
            key: "tcplisten",
            default: "none",
            help: "Listen at this ADDRESS:PORT, for the guest to accept connections; repeatable. The \
                   sockets' descriptors follow those of the directories.",
            apply: Apply::Text(|s, address| {
                s.wasi.listeners.push(TcpListener::bind(address)?);
                Ok(())
            }),
        },
        Row {
            key: "random-seed",
            default: "none",
            help: "Make the guest's random numbers the same in each run; they are not secret then.",
            apply: Apply::Size(|s, seed| s.wasi.random_seed = Some(seed)),
        },
    ],
    passthrough: None,
};
