//! One module a system: each decodes what arrives and hands it to the intake. Sources know nothing else of the engine.

pub mod opennebula;
