//! Options of linear memories.

use super::Config;

/// What was set of a linear memory's options.
#[derive(Clone, Debug)]
pub(crate) struct MemoryConfig {
    pub(crate) reservation: u64,
    pub(crate) guard_size: u64,
    pub(crate) reservation_for_growth: u64,
    pub(crate) may_move: bool,
    pub(crate) guard_before: bool,
    pub(crate) init_cow: bool,
    pub(crate) force_init_memfd: bool,
    pub(crate) guaranteed_dense_image_size: u64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        let wide = cfg!(target_pointer_width = "64");
        MemoryConfig {
            reservation: if wide { 4 << 30 } else { 1 << 30 },
            guard_size: if wide { 2 << 30 } else { 64 << 10 },
            reservation_for_growth: if wide { 2 << 30 } else { 1 << 20 },
            may_move: true,
            guard_before: true,
            init_cow: true,
            force_init_memfd: false,
            guaranteed_dense_image_size: 16 << 20,
        }
    }
}

impl Config {
    /// The bytes of address space that are reserved for each linear memory, its growth included.
    ///
    /// A memory grows in place as long as it fits in its reservation, and one whose type does not
    /// let it grow beyond never moves. Generated code then loads its base address once, and
    /// together with a [guard region](Config::memory_guard_size) it need not check accesses: a
    /// memory with 32-bit indices needs a reservation of 4 GiB for that. Reserved address space is
    /// not memory: it costs nothing until the guest uses it, but the operating system may limit
    /// it, and then a smaller value helps.
    ///
    /// What happens when a memory outgrows its reservation is up to
    /// [`Config::memory_may_move`].
    ///
    /// Values are rounded up to the page size of the target.
    ///
    /// Default: 4 GiB, or 1 GiB on 32-bit platforms.
    pub fn memory_reservation(&mut self, bytes: u64) -> &mut Self {
        self.memory.reservation = bytes;
        self
    }

    /// The bytes of inaccessible address space behind each linear memory.
    ///
    /// An access that lands there faults, which becomes a trap. Where every access that is out of
    /// bounds is certain to land there, generated code does not check it: for memories with
    /// 32-bit indices and a [reservation](Config::memory_reservation) of 4 GiB, accesses with a
    /// constant offset less than this size. With 4 GiB there are no checks at all, with 0 every
    /// access is checked.
    ///
    /// Values are rounded up to the page size of the target.
    ///
    /// Default: 2 GiB, or 64 KiB on 32-bit platforms.
    pub fn memory_guard_size(&mut self, bytes: u64) -> &mut Self {
        self.memory.guard_size = bytes;
        self
    }

    /// The bytes of address space that are reserved in addition when a memory that can outgrow
    /// its [reservation](Config::memory_reservation) is allocated or moved.
    ///
    /// It can grow by that much before it has to move, which copies all of it. With 0 every
    /// growth moves it.
    ///
    /// Values are rounded up to the page size of the target.
    ///
    /// Default: 2 GiB, or 1 MiB on 32-bit platforms.
    pub fn memory_reservation_for_growth(&mut self, bytes: u64) -> &mut Self {
        self.memory.reservation_for_growth = bytes;
        self
    }

    /// Whether a memory that outgrows its [reservation](Config::memory_reservation) is moved to a
    /// larger one. If not, it cannot grow beyond, whatever its type says, and its base address is
    /// the same for as long as it lives.
    ///
    /// Default: `true`.
    pub fn memory_may_move(&mut self, enable: bool) -> &mut Self {
        self.memory.may_move = enable;
        self
    }

    /// Whether a guard region, as large as the one behind, also precedes each linear memory.
    ///
    /// No correctly compiled code can reach it: it is a second line of defence against defects of
    /// the compiler. It takes address space, and no time.
    ///
    /// Default: `true`.
    pub fn guard_before_linear_memory(&mut self, enable: bool) -> &mut Self {
        self.memory.guard_before = enable;
        self
    }

    /// Whether linear memories get their initial contents by mapping an image copy-on-write.
    ///
    /// Instantiation then takes the same time however large the image is, and instances share the
    /// pages that they only read. On the other hand, the first write to a page copies it, which
    /// many threads at once can feel.
    ///
    /// Only memories that the module defines can have an image, and only if its active data
    /// segments have constant offsets, are in bounds, and lie close enough together (see
    /// [`Config::memory_guaranteed_dense_image_size`]). Other memories get their contents by
    /// copying. On Linux the image is the artifact's own file if it was loaded from one, and an
    /// anonymous file otherwise; on other Unix systems modules need to be loaded from a file; on
    /// Windows contents are always copied.
    ///
    /// Default: `true`.
    pub fn memory_init_cow(&mut self, enable: bool) -> &mut Self {
        self.memory.init_cow = enable;
        self
    }

    /// Whether, on Linux, images of memories are copied to an anonymous file even when the
    /// artifact was loaded from a file that could be mapped.
    ///
    /// Page faults in the image are then always answered from memory, never from the disk.
    /// Matters only with [`Config::memory_init_cow`].
    ///
    /// Default: `false`.
    pub fn force_memory_init_memfd(&mut self, enable: bool) -> &mut Self {
        self.memory.force_init_memfd = enable;
        self
    }

    /// The bytes up to which a memory gets an image for [`Config::memory_init_cow`] however
    /// sparse its data segments are.
    ///
    /// Images larger than this, from the first to the last byte of data in whole pages, are only
    /// made if at least half of them is data, as the gaps between segments take space in the
    /// artifact.
    ///
    /// Default: 16 MiB.
    pub fn memory_guaranteed_dense_image_size(&mut self, size_in_bytes: u64) -> &mut Self {
        self.memory.guaranteed_dense_image_size = size_in_bytes;
        self
    }

    /// The former name of [`Config::memory_reservation`].
    #[deprecated(note = "use `Config::memory_reservation`")]
    pub fn static_memory_maximum_size(&mut self, max_size: u64) -> &mut Self {
        self.memory_reservation(max_size)
    }

    /// The former, opposite form of [`Config::memory_may_move`].
    #[deprecated(note = "use `Config::memory_may_move` with the opposite value")]
    pub fn static_memory_forced(&mut self, force: bool) -> &mut Self {
        self.memory_may_move(!force)
    }

    /// The former name of [`Config::memory_guard_size`].
    #[deprecated(note = "use `Config::memory_guard_size`")]
    pub fn static_memory_guard_size(&mut self, guard_size: u64) -> &mut Self {
        self.memory_guard_size(guard_size)
    }

    /// The least guard region that memories which can move need. One size holds for all
    /// memories, so this raises [`Config::memory_guard_size`] to at least `guard_size` bytes.
    #[deprecated(note = "use `Config::memory_guard_size`")]
    pub fn dynamic_memory_guard_size(&mut self, guard_size: u64) -> &mut Self {
        self.memory_guard_size(guard_size.max(self.memory.guard_size))
    }

    /// The former name of [`Config::memory_reservation_for_growth`].
    #[deprecated(note = "use `Config::memory_reservation_for_growth`")]
    pub fn dynamic_memory_reserved_for_growth(&mut self, reserved: u64) -> &mut Self {
        self.memory_reservation_for_growth(reserved)
    }
}
