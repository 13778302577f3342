# SPDX-License-Identifier: Apache-2.0

"""What a health check costs, side by side with what it is compared to.

``python -m benchmarks`` runs all of it and prints tables for the README.
Figures of one run can be compared with each other, and with no other run.
"""
