"""Local servers that speak Nexudus REST, PaperCut XML-RPC and ezeep REST, with PaperCut's own database beside them.

What belongs here: the services as the fact sheets describe them, each unknown as a switch, faults on demand, and the
servers' own truth for whoever checks printbridge. What does not: anything of printbridge. Nothing outside this
package imports it but the command, the tests and the benchmarks.
"""
