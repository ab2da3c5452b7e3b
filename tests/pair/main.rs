//! Two or three hosts for one rack, in virtual time: what one host's tenure makes of what happens (`rows`), and all of it
//! together in a storm (`story`, in its `world`), over an etcd in memory (`etcd`).

mod etcd;
mod rows;
mod story;
mod world;
