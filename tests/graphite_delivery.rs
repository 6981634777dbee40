//! What `pushpull collect` acknowledged reaches carbon: whatever becomes of the connection, of carbon, of the disk
//! and of the process itself. Each test runs the program; carbon's part is played by TCP servers that behave badly
//! on purpose (the real one is in the suite of peers). What fills a disk or measures memory runs on Linux only.
#![cfg(feature = "cli")]

#[cfg(test)]
#[path = "support/away.rs"]
mod away;
#[cfg(test)]
#[path = "graphite_delivery/carbon.rs"]
mod carbon;
#[cfg(test)]
#[path = "graphite_delivery/collect.rs"]
mod collect;
#[cfg(test)]
#[path = "graphite_delivery/points.rs"]
mod points;

#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "graphite_delivery/deleted.rs"]
mod deleted;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "graphite_delivery/disk.rs"]
mod disk;
#[cfg(test)]
#[path = "graphite_delivery/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "graphite_delivery/kills.rs"]
mod kills;
#[cfg(test)]
#[path = "graphite_delivery/offsets.rs"]
mod offsets;
#[cfg(test)]
#[path = "graphite_delivery/restart.rs"]
mod restart;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "graphite_delivery/soak.rs"]
mod soak;
#[cfg(test)]
#[path = "graphite_delivery/statsd.rs"]
mod statsd;
#[path = "graphite_delivery/totals.rs"]
mod totals;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "graphite_delivery/volumes.rs"]
mod volumes;
