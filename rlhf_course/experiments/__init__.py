"""What one notebook computes, where that is longer than its cells should be."""
