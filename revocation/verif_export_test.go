package revocation

// Taken returns what the cache's entries take, in octets, when what had to go is
// gone, and how many there are.
func (c *Cache) Taken() (octets uint64, entries int) {
	c.kept.CleanUp()
	return c.kept.WeightedSize(), c.kept.EstimatedSize()
}
