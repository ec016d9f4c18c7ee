//! A macro for enums with a name for each variant.

/// Declares an enum from a table of variants and names, with `ALL`, `name` and `Display`.
macro_rules! named {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $enum:ident: $of_all:vis ALL {
            $($(#[$doc:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $enum {
            $($(#[$doc])* $variant,)+
        }

        impl $enum {
            /// All variants, in the order of their declaration.
            #[allow(dead_code, reason = "not every enum is enumerated")]
            $of_all const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Returns the stable name of the variant, for people and programs.
            #[must_use]
            $visibility const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use named;
