//! Tests of the sequences through their public face, against a little simulated machine.
