// A list in an environment variable, with commas between its parts.
@export()
@description('Parts of a text without the blanks around them; empty parts are dropped.')
func parts(text string) string[] => filter(map(split(text, ','), part => trim(part)), part => !empty(part))

// parseCidr fails on what is no network, and does so while the parameters are compiled: before there is a vault that
// nobody can purge.
@export()
@description('Networks of a text in CIDR notation; a bare address is a network of its own.')
func networks(text string) string[] => map(parts(text), part => network(withPrefix(part)))

func withPrefix(range string) string => contains(range, '/') ? range : '${range}/${contains(range, ':') ? 128 : 32}'

func network(range string) string => '${parseCidr(range).network}/${parseCidr(range).cidr}'
