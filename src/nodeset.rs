//! Sets of node names as operators write them (`r1n[01-16,20]`), both ways: expanded and folded.
