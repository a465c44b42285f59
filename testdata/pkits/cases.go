package pkits

import "slices"

// Cases makes all cases, in the order of PKITS.
func Cases() []Case {
	var all []Case
	for _, section := range []func() []Case{
		signatures, validity, names, basicRevocation, serials, separateKeys, rollover,
		basicConstraints, pathLengths, keyUsage, policies, policyConstraints, mappings,
		nameConstraints, distributionPoints, onlySome, indirect, deltas, privateExtensions,
	} {
		all = append(all, section()...)
	}
	return slices.Clip(all)
}

// valid and invalid end a case.
func (m *maker) valid(name string) Case { m.Name, m.Valid = name, true; return m.Case }

func (m *maker) invalid(name string) Case { m.Name = name; return m.Case }

// demand asks for one of these policies.
func (m *maker) demand(policies ...string) *maker {
	m.Policies = policies
	return m
}
