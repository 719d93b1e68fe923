"""The messages of the kernel that report on the hardware, and what each means. One table per class of messages.

A row is (hint, pattern, grade, words). The hint is a literal of the pattern: lines without it are not searched at all. The pattern's group
``where`` is the place. Verdicts:

* ``fault``: hardware that works says this never, or not without a loss: no such line is tolerated while a run loads it.
* ``corrected``: the hardware mended it itself. A rate says something, one event does not.
* ``noted``: no fault of the hardware by itself (a program, a setting, a load, a state from before), or told again by a line that counts.

Each table names the files whose format strings it was read from: those of Linux 6.1 unless said otherwise, with the forms of 5.4 and of
6.18 where they differ; tests/data/kernel_log/messages.tsv has a line of every row, and where it was seen.
"""

from __future__ import annotations

from typing import Literal

Grade = Literal["fault", "corrected", "noted", "xid", "cleared"]
#: hint, pattern, grade, what the event is called.
Row = tuple[str, str, Grade, str]

PCI = r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?"
#: Floppies and empty DVD drives of virtual machines, and mounted image files, fail all day: they are nobody's disk.
_DISK = r"(?!fd\d|sr\d|loop\d)[\w!-]+"

# block/blk-core.c (blk_errors), block/blk-mq.c (blk_print_req_error), fs/buffer.c, block/blk-core.c (bio_check_eod)
# drivers/scsi/sd.c, drivers/scsi/scsi_lib.c, drivers/ata/libata-eh.c
# A device that refuses to trim or to write zeroes says so once and is not asked again. Thin pools and multipath have their own ends.
STORAGE: tuple[Row, ...] = (
    ("error, dev ", rf"error, dev (?P<where>{_DISK}), sector \d+ op 0x\w+:\((?:DISCARD|SECURE_ERASE|WRITE_ZEROES|WRITE_SAME)\)",
     "noted", "trim refused"),
    ("error, dev ", (r"(?:recoverable transport|critical nexus|critical space allocation|operation not supported|kernel resource|"
     rf"device resource|nonblocking retry|zones exceeded) error, dev (?P<where>{_DISK})"), "noted", "request refused"),
    ("error, dev ", rf"(?:I/O|timeout|critical \w+|protection|device offline) error, dev (?P<where>{_DISK})", "fault", "I/O error"),
    ("Buffer I/O error on dev", rf"Buffer I/O error on dev(?:ice)? (?P<where>{_DISK})", "fault", "I/O error"),
    ("beyond end of device", r"attempt to access beyond end of device", "noted", "access beyond the end of a device"),
    ("Offlining disk", rf"\[(?P<where>{_DISK})\] Medium access timeout failure\. Offlining disk!", "fault", "no answer"),
    ("rejecting I/O to", r"^(?:sd|nvme) (?P<where>\S+): (?:\[\w+\] )?rejecting I/O to (?:offline|dead) device", "fault", "no answer"),
    ("device offline or changed", rf"\[(?P<where>{_DISK})\] .*device offline or changed", "fault", "no answer"),
    ("reset failed, giving up", r"^(?P<where>ata\d+(?:\.\d+)?): reset failed, giving up", "fault", "no answer"),
    ("disable", r"^(?P<where>ata\d+\.\d+): disabled?(?: device)?$", "fault", "no answer"),
    ("exception Emask", r"^(?P<where>ata\d+(?:\.\d+)?): exception Emask", "noted", "SATA command or link failed, tried again"),
    ("Failing path", r"device-mapper: multipath: (?P<where>\S+): Failing path", "fault", "path failed"),
    ("is corrupted", r"device-mapper: (?:verity|integrity): (?P<where>\S+): .*is corrupted", "fault", "wrong data"),
)  # fmt: skip

# drivers/nvme/host/{core,pci,multipath,rdma,tcp}.c. "completion polled" is an interrupt that was lost: the data came.
NVME: tuple[Row, ...] = (
    ("completion polled", r"^nvme (?P<where>nvme\d+): I/O .*timeout, completion polled", "noted", "interrupt lost"),
    ("timeout, ", r"^nvme (?P<where>nvme\d+): .*timeout, (?:aborting|reset|disable)", "fault", "no answer"),
    ("controller is down", r"^nvme (?P<where>nvme\d+): controller is down", "fault", "no answer"),
    ("probe failure", r"^nvme (?P<where>nvme\d+): Removing after probe failure", "fault", "no answer"),
    ("Device not ready", r"^nvme (?P<where>nvme\d+): Device not ready", "fault", "no answer"),
    ("reset failure", r"^nvme (?P<where>nvme\d+): Disabling device after reset failure", "fault", "reset failed"),
    ("state error detected", r"^nvme (?P<where>nvme\d+): (?:frozen|failure) state error detected", "fault", "PCIe error"),
    ("resetting controller due to", r"^nvme (?P<where>nvme\d+): resetting controller due to (?:AER|persistent internal error)",
     "fault", "internal error"),
    ("failing I/O", r"^block (?P<where>nvme\w+): no (?:available|usable) path - failing I/O", "fault", "no path left"),
    ("requeuing I/O", r"^block (?P<where>nvme\w+): no (?:available|usable) path - requeuing I/O", "noted", "no path for now"),
)  # fmt: skip

# drivers/md/{md,raid0,raid1,raid10,raid5}.c; drivers/scsi/megaraid/megaraid_sas_base.c, drivers/scsi/mpt3sas/mpt3sas_base.c.
RAID: tuple[Row, ...] = (
    ("Disk failure on ", r"^(?:md/)?raid[^ ]*: ?Disk failure on (?P<where>[\w!-]+)", "fault", "RAID disabled a disk"),
    ("read error corrected", r"^md/raid[^ ]*: ?read error corrected \(\d+ sectors at \d+ on (?P<where>[\w!-]+)\)",
     "corrected", "read error mended by RAID"),
    ("read error", r"^md/raid[^ ]*: ?read error (?:NOT corrected|not correctable).* on (?P<where>[\w!-]+)\)", "fault", "I/O error"),
    ("Too many read errors", r"^md/raid[^ ]*: ?Too many read errors, failing device (?P<where>[\w!-]+)", "fault", "I/O error"),
    ("unrecoverable I/O", r"^md/raid\w*:(?P<where>\w+): .*unrecoverable I/O (?:read )?error", "fault", "data of the RAID lost"),
    ("Cannot continue operation", r"^md/raid\w*:(?P<where>\w+): Cannot continue operation", "fault", "RAID failed"),
    ("not enough operational", r"^md/raid\w*:(?P<where>\w+): not enough operational", "fault", "RAID failed"),
    ("dirty degraded array", r"^md/raid\w*:(?P<where>\w+): cannot start dirty degraded array", "fault", "RAID failed"),
    ("kicking non-fresh", r"^md: kicking non-fresh (?P<where>[\w!-]+) from array", "fault", "RAID without a disk"),
    ("super_written gets error", r"^md: super_written gets error", "fault", "RAID cannot write its superblock"),
    ("megaraid_sas", rf"^megaraid_sas (?P<where>{PCI}): \d+ \(\w+/0x\w+/(?:CRIT|FATAL|DEAD)\)", "fault", "RAID adapter reports a fault"),
    ("FW in FAULT state", rf"^megaraid_sas (?P<where>{PCI}): FW in FAULT state", "fault", "adapter failed"),
    ("fault_state(", r"^(?P<where>mpt[23]sas_cm\d+): fault_state\(", "fault", "adapter failed"),
)  # fmt: skip

# fs/ext4/super.c, fs/jbd2/{commit,journal}.c, fs/xfs/xfs_{error,fsops,log,buf,message}.c, fs/btrfs/{disk-io,volumes,inode,super}.c, ZFS'
# spa_misc.c, net/sunrpc/clnt.c, Lustre's import.c. "Error count since last fsck" comes every day from what was, and a mount tells old counts.
FILE_SYSTEMS: tuple[Row, ...] = (
    ("Abort forced by user", r"^EXT4-fs error \(device (?P<where>[\w-]+)\).*Abort forced by user", "noted", "file system stopped by hand"),
    ("EXT4-fs error", r"^EXT4-fs error \(device (?P<where>[\w-]+)\)", "fault", "file system error"),
    ("error count since last fsck", r"^EXT4-fs \((?P<where>[\w-]+)\): error count since last fsck", "noted", "old file system error"),
    ("error at time", r"^EXT4-fs \((?P<where>[\w-]+)\): (?:initial|last) error at time", "noted", "old file system error"),
    ("I/O error while writing superblock", r"^(?:EXT4-fs|XFS|BTRFS)\W+\(?(?P<where>[\w-]+)\)?: I/O error while writing superblock",
     "fault", "file system error"),
    ("Delayed block allocation failed", r"^EXT4-fs \((?P<where>[\w-]+)\): Delayed block allocation failed .* with error (?:5|117)\b",
     "fault", "file system error"),
    ("Remounting filesystem read-only", r"^EXT[34]-fs \((?P<where>[\w-]+)\): Remounting filesystem read-only",
     "fault", "file system is read-only"),
    ("JBD2: Detected IO errors", r"^JBD2: Detected IO errors while flushing file data on (?P<where>[\w-]+)", "fault", "file system error"),
    ("Aborting journal", r"^Aborting journal on device (?P<where>[\w-]+?)\.?$", "fault", "file system error"),
    ("User initiated shutdown", r"^XFS \((?P<where>[\w-]+)\): User initiated shutdown", "noted", "file system stopped by hand"),
    ("XFS (", (r"^XFS \((?P<where>[\w-]+)\): (?:Metadata (?:CRC error|[Cc]orruption)|metadata I/O error|log I/O error|Internal error|"
     r"Corruption (?:detected|of in-memory|warning)|I/O Error Detected|Log I/O Error Detected|writeback error|Filesystem has been shut down|"
     r"xfs_do_force_shutdown|xfs_log_force: error|.*Shutting down filesystem)"), "fault", "file system error"),
    ("BTRFS", (r"^BTRFS (?:error|warning|critical) \(device (?P<where>[\w-]+)[^)]*\): (?:bdev \S+ errs: |csum failed |checksum verify failed|"
     r"checksum error at|parent transid verify failed|corrupt (?:leaf|node)|bad tree block|block=\d+ (?:read|write) time tree block)"),
     "fault", "file system error"),
    ("BTRFS", r"^BTRFS: error \(device (?P<where>[\w-]+)[^)]*\) in .*errno=-(?:5|117) ", "fault", "file system error"),
    ("forced readonly", r"^BTRFS info \(device (?P<where>[\w-]+)[^)]*\): forced readonly", "fault", "file system is read-only"),
    ("read error corrected", r"^BTRFS info \(device (?P<where>[\w-]+)[^)]*\): read error corrected", "corrected", "read error mended"),
    ("uncorrectable I/O failure", r"^WARNING: Pool '(?P<where>[^']+)' has encountered an uncorrectable I/O failure", "fault", "I/O error"),
    ("not responding", r"^nfs: server (?P<where>[\w.:-]+) not responding", "noted", "file server silent"),
    ("Lustre: ", r"^Lustre: \S+: Connection to (?P<where>\S+) \(at \S+\) was lost", "noted", "file server silent"),
    ("LustreError: ", r"^LustreError: .*(?:evicted by|was evicted).* (?P<where>\S+@\S+)", "noted", "evicted by a file server"),
)  # fmt: skip

# drivers/pci/pcie/{aer,dpc,err}.c, drivers/pci/hotplug/pciehp_ctrl.c, drivers/pci/{pci,quirks}.c, drivers/iommu/{intel/dmar,amd/init}.c.
# The errors themselves are read by kernel_log (their severity decides). A link below its width is judged by check health, while it is busy.
PCIE: tuple[Row, ...] = (
    ("device recovery failed", rf"(?P<where>{PCI}): (?:AER: )?device recovery failed", "fault", "no recovery after an error"),
    ("containment event", rf"(?P<where>{PCI}).*DPC: containment event", "fault", "link contained (DPC)"),
    ("Link Down", rf"(?P<where>{PCI}).*pciehp: Slot\(.*\): Link Down", "fault", "link down"),
    ("device inaccessible", rf"(?P<where>{PCI}): Unable to change power state .*device inaccessible", "fault", "no answer"),
    ("giving up", rf"(?P<where>{PCI}): not ready \d+ms after .*giving up", "fault", "no answer"),
    ("retraining", rf"(?P<where>{PCI}): (?:broken device, )?retraining (?:non-functional|failed)", "fault", "link does not train"),
    ("available PCIe bandwidth, limited", rf"(?P<where>{PCI}): .*available PCIe bandwidth, limited by", "noted", "link below its width"),
    ("DMAR: ", r"^DMAR: \[.*\] Request device \[(?P<where>[\w:.]+)\].*fault", "noted", "DMA refused by the IOMMU"),
    ("IO_PAGE_FAULT", r"AMD-Vi: Event logged \[IO_PAGE_FAULT (?:device=)?(?P<where>[\w:.]+)", "noted", "DMA refused by the IOMMU"),
)  # fmt: skip

# drivers/edac/{edac_mc,edac_device,edac_pci}.c (the counted lines are read by kernel_log), mm/memory-failure.c, drivers/ras/cec.c.
MEMORY: tuple[Row, ...] = (
    ("Uncorrected hardware memory error", r"Uncorrected hardware memory error", "fault", "uncorrected error"),
    ("Memory error not recovered", r"Memory error not recovered", "fault", "uncorrected error"),
    ("Memory failure: ", r"^Memory failure: (?P<where>0x[0-9a-f]+): ?(?:recovery action|Killing|Sending SIGBUS)", "fault", "page lost"),
    ("Soft-offlining pfn", r"^RAS: Soft-offlining pfn: (?P<where>0x[0-9a-f]+)", "corrected", "page retired after corrected errors"),
)  # fmt: skip

# arch/x86/kernel/cpu/mce/{core,intel,amd}.c, drivers/edac/mce_amd.c (decode_error_status), drivers/acpi/apei/ghes.c, arch/arm64/kernel/traps.c.
# Lines with a status register are read by kernel_log: bit 61 says whether it was corrected, "Exception" does not (drivers/edac/sb_edac.c
# wrote it for corrected errors too).
MACHINE_CHECK: tuple[Row, ...] = (
    ("machine check", r"[Ff]atal (?:local )?machine check", "fault", "fatal machine check"),
    ("Processor context corrupt", r"Processor context corrupt", "fault", "fatal machine check"),
    ("[Hardware Error]: Uncorrected", r"\[Hardware Error\]: Uncorrected", "fault", "uncorrected error"),
    ("[Hardware Error]: System Fatal error", r"\[Hardware Error\]: System Fatal error", "fault", "fatal error"),
    ("[Hardware Error]: Deferred error", r"\[Hardware Error\]: Deferred error", "fault", "uncorrected error, not used yet"),
    ("[Hardware Error]: Corrected error", r"\[Hardware Error\]: Corrected error", "corrected", "corrected error"),
    ("events logged", r"Machine check events logged", "corrected", "logged"),
    ("CMCI storm detected", r"CMCI storm detected", "corrected", "storm of corrected errors"),
    ("SError Interrupt", r"SError Interrupt on CPU(?P<where>\d+)", "fault", "asynchronous error of the processor"),
)  # fmt: skip

# drivers/net/ethernet/mellanox/mlx5/core/{health,events,cmd,main}.c, net/sched/sch_generic.c (dev_watchdog), in its form before 6.6 and since.
# "Insufficient power" is said of the slot at every start of many servers; that ports were shut down for it is a module event of its own.
NETWORK: tuple[Row, ...] = (
    ("Port module event[error]", rf"mlx5_core (?P<where>{PCI}).*Port module event\[error\]: module \d+, ",
     "fault", "module or cable failed"),
    ("Port module event[error]", r"Port module event\[error\]: (?P<where>module \d+), ", "fault", "module or cable failed"),
    ("Cable unplugged", rf"mlx5_core (?P<where>{PCI}).*Port module event: module \d+, Cable unplugged", "noted", "cable unplugged"),
    ("insufficient power", rf"mlx5_core (?P<where>{PCI}).*Detected insufficient power on the PCIe slot", "noted", "little power in the slot"),
    ("High temperature on sensors", rf"mlx5_core (?P<where>{PCI}).*High temperature on sensors", "noted", "too hot"),
    ("mlx5_core ", (rf"mlx5_core (?P<where>{PCI}).*(?:health compromised|timeout\. Will cause a leak|No done completion|"
     r"Fatal error \d+ detected|health recovery (?:failed|flow aborted)|Driver is in error state|PCI slot is unavailable|"
     r"Health issue observed, .*severity\([0-3]\))"), "fault", "adapter failed"),
    ("Health issue observed", rf"mlx5_core (?P<where>{PCI}).*Health issue observed", "noted", "adapter reports an issue"),
    ("NETDEV WATCHDOG: CPU", r"(?P<where>\S+): NETDEV WATCHDOG: CPU: \d+: transmit queue", "fault", "transmit queue timed out"),
    ("NETDEV WATCHDOG: ", r"NETDEV WATCHDOG: (?P<where>[\w.-]+) \(", "fault", "transmit queue timed out"),
    (": Link down", rf"^(?:mlx5_core|bnxt_en|ice|i40e|ixgbe) (?P<where>{PCI} \w+): Link down", "noted", "link down"),
)  # fmt: skip

# NVIDIA/open-gpu-kernel-modules 595.45 (df1c9a3): src/nvidia/arch/nvalloc/unix/src/{osinit,osapi}.c, kernel-open/nvidia/nv*.c,
# src/nvidia/src/kernel/rmapi/nv_gpu_ops.c. Xids (kernel_rc.c) and SXids (common_nvswitch.h) are read by kernel_log.
GPU: tuple[Row, ...] = (
    ("fallen off the bus", rf"NVRM: .*?(?P<where>{PCI})(?:.*\n)*.*fallen off the bus", "fault", "fell off the bus"),
    ("fallen off the bus", r"NVRM: .*fallen off the bus", "fault", "fell off the bus"),
    ("GPU lost from the bus", r"NVRM: (?P<where>GPU\d+)?.*GPU lost from the bus", "fault", "fell off the bus"),
    ("RmInitAdapter failed", rf"NVRM: GPU (?P<where>{PCI}): RmInitAdapter failed", "fault", "cannot be initialised"),
    ("power cables", rf"NVRM: GPU (?P<where>{PCI}): GPU does not have the necessary power cables", "fault", "power cable missing"),
    ("requiring os reboot", r"uvm encountered global fatal error 0x[0-9a-f]+, requiring os reboot", "fault", "needs a reboot"),
    ("probe routine failed", r"NVRM: The NVIDIA probe routine failed for \d+ device", "fault", "driver found a GPU it cannot use"),
    ("loading NVIDIA UNIX", r"NVRM: loading NVIDIA UNIX", "cleared", "driver loaded"),
)  # fmt: skip

# drivers/thermal/intel/therm_throt.c and its older forms, drivers/thermal/thermal_core.c.
THERMAL: tuple[Row, ...] = (
    ("above threshold", r"(?P<where>CPU\d+): (?:Core|Package) temperature (?:is )?above threshold", "noted", "too hot"),
    ("critical temperature reached", r"^thermal (?P<where>\S+): .*critical temperature reached", "fault", "critical temperature"),
)  # fmt: skip

# mm/oom_kill.c.
OUT_OF_MEMORY: tuple[Row, ...] = (
    ("Killed process", r"Killed process \d+ \((?P<where>[^)]*)\)", "noted", "killed for memory"),
    ("no killable processes", r"Out of memory and no killable processes", "noted", "out of memory"),
)  # fmt: skip

# kernel/{watchdog,watchdog_hld,hung_task,panic,workqueue}.c, kernel/rcu/tree_stall.h, arch/x86/mm/fault.c, arch/arm64/mm/fault.c.
LOCKUPS: tuple[Row, ...] = (
    (" stuck for", r"BUG: soft lockup - CPU#?(?P<where>\d+) stuck for", "fault", "soft lockup"),
    ("LOCKUP on cpu", r"hard LOCKUP on cpu (?P<where>\d+)", "fault", "hard lockup"),
    ("workqueue lockup", r"^BUG: workqueue lockup", "noted", "workqueue late"),
    ("detected stall", r"INFO: rcu\w* (?:self-)?detected stalls? on CPU", "fault", "RCU stall"),
    ("Kernel panic", r"^Kernel panic - not syncing", "fault", "crash"),
    ("nable to handle", r"^(?:BUG: unable|Unable) to handle (?:kernel|page fault)", "fault", "crash"),
    ("Oops", r"\bOops(?:: | - )", "fault", "crash"),
    ("general protection fault", r"^general protection fault", "fault", "crash"),
    ("kernel BUG at", r"^kernel BUG at ", "fault", "crash"),
    ("blocked for more than", r"task (?P<where>[^:]+):\d+ blocked for more than", "noted", "blocked task"),
    ("as unstable", r"Marking clocksource '(?P<where>\w+)' as unstable", "noted", "clock is not trusted"),
)  # fmt: skip

#: Area of the events → its tables, in the order in which a line is held against them.
TABLES: tuple[tuple[str, tuple[Row, ...]], ...] = (
    ("gpu", GPU),
    ("pcie", PCIE),
    ("memory", MEMORY),
    ("machine check", MACHINE_CHECK),
    ("disk", (*NVME, *RAID, *STORAGE, *FILE_SYSTEMS)),
    ("network", NETWORK),
    ("kernel", (*LOCKUPS, *THERMAL, *OUT_OF_MEMORY)),
)
