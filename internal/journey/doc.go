// Package journey holds the tests of the whole: the programs as they are built
// for people, run as processes, with cards whose keys are on a PKCS #11 token,
// and asked by other people's programs (openssl, pkcs11-tool) what became of it.
//
// It has no code of its own. What one package does is tested in that package;
// here only what needs several processes: that they find each other, what they
// print, how they end, and what is left when one of them is killed.
package journey
