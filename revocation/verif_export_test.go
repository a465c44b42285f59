package revocation

// Taken returns what the cache's entries take, in octets, when what had to go is
// gone, and how many there are.
func (c *Cache) Taken() (octets uint64, entries int) {
	c.kept.CleanUp()
	return c.kept.WeightedSize(), c.kept.EstimatedSize()
}

// ReadDistributionPoints is for its fuzz target.
var ReadDistributionPoints = readDistributionPoints

// ReadOCSP tells whether der is an OCSP response that is read, and how many
// certificates it is about.
func ReadOCSP(der []byte) (int, error) {
	a, err := readOCSP(der)
	if err != nil {
		return 0, err
	}
	return len(a.singles), nil
}
