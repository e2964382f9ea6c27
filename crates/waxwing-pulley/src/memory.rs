//! Loads and stores.

use pulley_interpreter::{AddrG32, AddrG32Bne, AddrO32, AddrZ, FReg, Reg, VReg, XReg};

use crate::machine::{Cpu, Fault, Flow, NEXT, Vector, Word};

/// How an instruction says what it accesses.
trait Address {
    /// The address of `size` bytes.
    fn resolve(self, cpu: &Cpu<'_>, size: u64) -> Result<u64, Fault>;
}

/// Memory that is there.
impl Address for AddrO32 {
    #[inline(always)]
    fn resolve(self, cpu: &Cpu<'_>, _size: u64) -> Result<u64, Fault> {
        Ok(cpu
            .get::<u64>(self.addr)
            .wrapping_add_signed(self.offset.into()))
    }
}

/// Memory that is there unless the base is null.
impl Address for AddrZ {
    #[inline(always)]
    fn resolve(self, cpu: &Cpu<'_>, _size: u64) -> Result<u64, Fault> {
        match cpu.get::<u64>(self.addr) {
            0 => Err(Fault::Trap),
            base => Ok(base.wrapping_add_signed(self.offset.into())),
        }
    }
}

/// A place in a linear memory of `bound` bytes.
#[inline(always)]
fn in_bounds(base: u64, bound: u64, position: u32, offset: u64, size: u64) -> Result<u64, Fault> {
    let start = u64::from(position) + offset;
    if start + size > bound {
        return Err(Fault::MemoryOutOfBounds);
    }
    Ok(base.wrapping_add(start))
}

impl Address for AddrG32 {
    #[inline(always)]
    fn resolve(self, cpu: &Cpu<'_>, size: u64) -> Result<u64, Fault> {
        in_bounds(
            cpu.get(self.host_heap_base),
            cpu.get(self.host_heap_bound),
            cpu.get(self.wasm_addr),
            self.offset.into(),
            size,
        )
    }
}

impl Address for AddrG32Bne {
    #[inline(always)]
    fn resolve(self, cpu: &Cpu<'_>, size: u64) -> Result<u64, Fault> {
        let bound = cpu.get::<u64>(self.host_heap_bound_addr);
        let bound = bound.wrapping_add(self.host_heap_bound_offset.into());
        // SAFETY: code knows where the bound is.
        let bound = usize::from_ne_bytes(unsafe { Cpu::read(bound) }) as u64;
        in_bounds(
            cpu.get(self.host_heap_base),
            bound,
            cpu.get(self.wasm_addr),
            self.offset.into(),
            size,
        )
    }
}

impl Cpu<'_> {
    /// Loads `N` bytes and goes on with what `then` does with them.
    #[inline(always)]
    fn load<const N: usize>(
        &mut self,
        addr: impl Address,
        then: impl FnOnce(&mut Self, [u8; N]),
    ) -> Flow {
        match addr.resolve(self, N as u64) {
            Ok(address) => {
                // SAFETY: code accesses what is there; the address was checked if it says so.
                then(self, unsafe { Self::read(address) });
                NEXT
            }
            Err(fault) => Self::fault(fault),
        }
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, addr: impl Address, bytes: [u8; N]) -> Flow {
        match addr.resolve(self, N as u64) {
            Ok(address) => {
                // SAFETY: as for loads.
                unsafe { Self::write(address, bytes) };
                NEXT
            }
            Err(fault) => Self::fault(fault),
        }
    }
}

/// Loads to integer registers: the type in memory, which is extended to 32 bits, and the order of its bytes.
macro_rules! integer_loads {
    ($($address:ident: $($name:ident($ty:ident $from:ident))*;)*) => {
        impl Cpu<'_> {
            $($(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: XReg, addr: $address) -> Flow {
                self.load(addr, |cpu, bytes| cpu.set(dst, $ty::$from(bytes)))
            })*)*
        }
    };
}

integer_loads! {
    AddrO32:
        xload8_u32_o32(u8 from_le_bytes) xload8_s32_o32(i8 from_le_bytes)
        xload16le_u32_o32(u16 from_le_bytes) xload16le_s32_o32(i16 from_le_bytes)
        xload32le_o32(u32 from_le_bytes) xload64le_o32(u64 from_le_bytes)
        xload16be_u32_o32(u16 from_be_bytes) xload16be_s32_o32(i16 from_be_bytes)
        xload32be_o32(u32 from_be_bytes) xload64be_o32(u64 from_be_bytes);
    AddrZ:
        xload8_u32_z(u8 from_le_bytes) xload8_s32_z(i8 from_le_bytes)
        xload16le_u32_z(u16 from_le_bytes) xload16le_s32_z(i16 from_le_bytes)
        xload32le_z(u32 from_le_bytes) xload64le_z(u64 from_le_bytes)
        xload16be_u32_z(u16 from_be_bytes) xload16be_s32_z(i16 from_be_bytes)
        xload32be_z(u32 from_be_bytes) xload64be_z(u64 from_be_bytes);
    AddrG32:
        xload8_u32_g32(u8 from_le_bytes) xload8_s32_g32(i8 from_le_bytes)
        xload16le_u32_g32(u16 from_le_bytes) xload16le_s32_g32(i16 from_le_bytes)
        xload32le_g32(u32 from_le_bytes) xload64le_g32(u64 from_le_bytes);
    AddrG32Bne:
        xload8_u32_g32bne(u8 from_le_bytes) xload8_s32_g32bne(i8 from_le_bytes)
        xload16le_u32_g32bne(u16 from_le_bytes) xload16le_s32_g32bne(i16 from_le_bytes)
        xload32le_g32bne(u32 from_le_bytes) xload64le_g32bne(u64 from_le_bytes);
}

/// Stores of integer registers.
macro_rules! integer_stores {
    ($($address:ident: $($name:ident($ty:ident $to:ident))*;)*) => {
        impl Cpu<'_> {
            $($(#[inline(always)]
            pub(crate) fn $name(&mut self, addr: $address, src: XReg) -> Flow {
                self.store(addr, self.get::<$ty>(src).$to())
            })*)*
        }
    };
}

integer_stores! {
    AddrO32:
        xstore8_o32(u8 to_le_bytes) xstore16le_o32(u16 to_le_bytes)
        xstore32le_o32(u32 to_le_bytes) xstore64le_o32(u64 to_le_bytes)
        xstore16be_o32(u16 to_be_bytes) xstore32be_o32(u32 to_be_bytes)
        xstore64be_o32(u64 to_be_bytes);
    AddrZ:
        xstore8_z(u8 to_le_bytes) xstore16le_z(u16 to_le_bytes)
        xstore32le_z(u32 to_le_bytes) xstore64le_z(u64 to_le_bytes)
        xstore16be_z(u16 to_be_bytes) xstore32be_z(u32 to_be_bytes)
        xstore64be_z(u64 to_be_bytes);
    AddrG32:
        xstore8_g32(u8 to_le_bytes) xstore16le_g32(u16 to_le_bytes)
        xstore32le_g32(u32 to_le_bytes) xstore64le_g32(u64 to_le_bytes);
    AddrG32Bne:
        xstore8_g32bne(u8 to_le_bytes) xstore16le_g32bne(u16 to_le_bytes)
        xstore32le_g32bne(u32 to_le_bytes) xstore64le_g32bne(u64 to_le_bytes);
}

/// Loads and stores of float registers, as the integers of their bits.
macro_rules! float_accesses {
    ($($address:ident: $($load:ident $store:ident($ty:ident $from:ident $to:ident))*;)*) => {
        impl Cpu<'_> {
            $($(#[inline(always)]
            pub(crate) fn $load(&mut self, dst: FReg, addr: $address) -> Flow {
                self.load(addr, |cpu, bytes| cpu.m.f[dst.index()] = $ty::$from(bytes).to_bits())
            }

            #[inline(always)]
            pub(crate) fn $store(&mut self, addr: $address, src: FReg) -> Flow {
                self.store(addr, <$ty>::from_bits(self.m.f[src.index()]).$to())
            })*)*
        }
    };
}

float_accesses! {
    AddrO32:
        fload32le_o32 fstore32le_o32(u32 from_le_bytes to_le_bytes)
        fload64le_o32 fstore64le_o32(u64 from_le_bytes to_le_bytes)
        fload32be_o32 fstore32be_o32(u32 from_be_bytes to_be_bytes)
        fload64be_o32 fstore64be_o32(u64 from_be_bytes to_be_bytes);
    AddrZ:
        fload32le_z fstore32le_z(u32 from_le_bytes to_le_bytes)
        fload64le_z fstore64le_z(u64 from_le_bytes to_le_bytes)
        fload32be_z fstore32be_z(u32 from_be_bytes to_be_bytes)
        fload64be_z fstore64be_z(u64 from_be_bytes to_be_bytes);
    AddrG32:
        fload32le_g32 fstore32le_g32(u32 from_le_bytes to_le_bytes)
        fload64le_g32 fstore64le_g32(u64 from_le_bytes to_le_bytes);
}

#[inline(always)]
fn in_order(bytes: [u8; 16]) -> [u8; 16] {
    bytes
}

#[inline(always)]
fn reversed(bytes: [u8; 16]) -> [u8; 16] {
    u128::from_be_bytes(bytes).to_le_bytes()
}

/// Loads and stores of vectors.
macro_rules! vector_accesses {
    ($($address:ident: $($load:ident $store:ident($order:ident))*;)*) => {
        impl Cpu<'_> {
            $($(#[inline(always)]
            pub(crate) fn $load(&mut self, dst: VReg, addr: $address) -> Flow {
                self.load(addr, |cpu, bytes| cpu.m.v[dst.index()] = Vector($order(bytes)))
            }

            #[inline(always)]
            pub(crate) fn $store(&mut self, addr: $address, src: VReg) -> Flow {
                self.store(addr, $order(self.m.v[src.index()].0))
            })*)*
        }
    };
}

vector_accesses! {
    AddrO32: vload128le_o32 vstore128le_o32(in_order);
    AddrZ: vload128le_z vstore128le_z(in_order) vload128be_z vstore128be_z(reversed);
    AddrG32: vload128le_g32 vstore128le_g32(in_order);
}

/// Loads of 64 bits whose lanes are extended.
macro_rules! extending_loads {
    ($($name:ident($narrow:ident to $wide:ident);)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: VReg, addr: AddrZ) -> Flow {
                self.load(addr, |cpu, bytes: [u8; 8]| {
                    let mut narrow = [0; 16];
                    narrow[..8].copy_from_slice(&bytes);
                    let lanes = Vector(narrow).lanes::<$narrow, { 16 / size_of::<$narrow>() }>();
                    let wide: [$wide; 16 / size_of::<$wide>()] =
                        std::array::from_fn(|i| lanes[i].into());
                    cpu.m.v[dst.index()] = Vector::of(wide);
                })
            })*
        }
    };
}

extending_loads! {
    vload8x8_s_z(i8 to i16);
    vload8x8_u_z(u8 to u16);
    vload16x4le_s_z(i16 to i32);
    vload16x4le_u_z(u16 to u32);
    vload32x2le_s_z(i32 to i64);
    vload32x2le_u_z(u32 to u64);
}
