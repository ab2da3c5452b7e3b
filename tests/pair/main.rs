//! Two or three hosts for one rack, in virtual time: what one host's tenure makes of what happens
//! (`rows`), and all of it together in a storm (`story`, in its `world`), over an etcd in memory
//! (`etcd`). Nodes and people are those of the rack of one host (`single`).

mod etcd;
mod rows;
#[path = "../world/mod.rs"]
mod single;
mod story;
mod world;
